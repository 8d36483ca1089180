"""Chat templates: the same text as transformers makes, ours as they are meant, and a sandbox that holds."""

from pathlib import Path

import pytest
from chat_tokenizers import make_tokenizer, write_folder_of

from tuneloop.core.errors import ConfigError
from tuneloop.data.schema import Message, RowError
from tuneloop.data.template import NAMED_TEMPLATES, Template, load_named_template

SYSTEM, ASK, ANSWER = Message("system", "s"), Message("user", "q"), Message("assistant", "a")
OTHER_SCRIPTS = (Message("user", "谁 <b> 'é'"), Message("assistant", "🙂\n&"))
AGAIN, LAST = Message("user", "r"), Message("assistant", "b")
CONVERSATION = (SYSTEM, ASK, ANSWER, AGAIN, LAST)


BY_HAND = {
    "chatml": """\
<|im_start|>system
s<|im_end|>
<|im_start|>user
q<|im_end|>
<|im_start|>assistant
a<|im_end|>
<|im_start|>user
r<|im_end|>
<|im_start|>assistant
b<|im_end|>
""",
    "llama3": """\
[B]<|start_header_id|>system<|end_header_id|>

s<|eot_id|><|start_header_id|>user<|end_header_id|>

q<|eot_id|><|start_header_id|>assistant<|end_header_id|>

a<|eot_id|><|start_header_id|>user<|end_header_id|>

r<|eot_id|><|start_header_id|>assistant<|end_header_id|>

b<|eot_id|>""",
    "gemma": """\
[B]<start_of_turn>user
s

q<end_of_turn>
<start_of_turn>model
a<end_of_turn>
<start_of_turn>user
r<end_of_turn>
<start_of_turn>model
b<end_of_turn>
""",
    "mistral": "[B][INST] s\n\nq [/INST] a[E][INST] r [/INST] b[E]",
    "plain": "[B]s\n\nQuestion: q\n\nAnswer: a[E]\n\nQuestion: r\n\nAnswer: b[E]\n\n",
}


@pytest.mark.parametrize("name", NAMED_TEMPLATES)
def test_named_templates_by_hand(name: str) -> None:
    template = Template(load_named_template(name), "[B]", "[E]")
    whole = BY_HAND[name]
    assert template.render(CONVERSATION) == whole
    # What is asked is the text before the last answer, and nothing else. Mistral's answers bring their own space.
    asked = whole[: whole.rindex("b" if name != "mistral" else " b")]
    assert template.render(CONVERSATION[:-1], add_generation_prompt=True) == asked


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"^data\.template: no template 'chatlm'\. Choose auto, model, chatml, "):
        load_named_template("chatlm")
    for name in ("auto", "model", "", "../prompt", "chatml.jinja"):
        with pytest.raises(ConfigError, match="no template"):
            load_named_template(name)


# Each shows a habit of templates in the wild.
WILD = {
    "white space control": """
{% for m in messages %}
    {%- if m.role == 'user' %}
  U: {{ m.content }}
    {%- else %}
  A: {{ m.content }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
  A:{% endif %}
""",
    "generation tag": """{% for m in messages %}{{ m.role }}:
{%- if m.role == 'assistant' %}{% generation %} {{ m.content }}{{ eos_token }}{% endgeneration %}
{% else %}{{ m.content }}
{% endif %}{% endfor %}""",
    "json": "{% for m in messages %}{{ m | tojson }} {{ m.content | tojson(indent=1) }}{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}"
    "{% if m.role == 'system' %}{% continue %}{% endif %}{{ loop.index0 }}{{ m.content }}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "slices and filters": "{{ bos_token }}{% set rest = messages[1:] %}{% for m in rest[::-1] %}{{ m['content']"
    " | trim | upper }}{{ m.content.split('a')[-1].strip() }}{% endfor %}{{ messages | length }}",
    "macro": "{% macro turn(m) -%}\n  <{{ m.role }}>{{ m.content }}\n{%- endmacro %}{% for m in messages %}"
    "{{ turn(m) }}{% endfor %}",
    "what is not there": "{% if tools %}T{% endif %}{% if documents %}D{% endif %}{% if enable_thinking is defined and "
    "enable_thinking is false %}N{% endif %}{% for m in messages %}{{ m.content }}{{ m.name }}{% endfor %}",
    "no tools": "{% if tools is not none %}T{% endif %}{{ messages[0].content }}",
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A tokenizer of transformers."""
    from transformers import AutoTokenizer

    folder = write_folder_of(tmp_path_factory.mktemp("t") / "m", make_tokenizer(), bos="[B]", eos="[E]")
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", WILD)
@pytest.mark.parametrize("asks", [False, True])
def test_same_text_as_transformers(theirs: object, name: str, *, asks: bool) -> None:
    conversation = (*CONVERSATION, *OTHER_SCRIPTS)
    ours = Template(WILD[name], "[B]", "[E]").render(conversation, add_generation_prompt=asks)
    messages = [{"role": message.role, "content": message.content} for message in conversation]
    assert ours == theirs.apply_chat_template(  # type: ignore[attr-defined]
        messages, chat_template=WILD[name], add_generation_prompt=asks, tokenize=False
    )
    assert ours


@pytest.mark.parametrize("name", NAMED_TEMPLATES)
def test_named_templates_through_transformers(theirs: object, name: str) -> None:
    """An exported folder carries the template: others must make the same of it."""
    source = load_named_template(name)
    messages = [{"role": message.role, "content": message.content} for message in CONVERSATION]
    text = theirs.apply_chat_template(messages, chat_template=source, tokenize=False)  # type: ignore[attr-defined]
    assert text == Template(source, "[B]", "[E]").render(CONVERSATION)


@pytest.mark.parametrize("source", ["{% for %}", "{{ messages", "{% if x %}", "{{ 1 | no_filter }}", "{% nonsense %}"])
def test_invalid_jinja(source: str) -> None:
    with pytest.raises(ConfigError, match=r"^the chat template is not valid Jinja: line 2: "):
        Template("\n" + source, "", "").render((ASK,))


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no system turn') }}",
        "{{ messages[7].content }}",
        "{{ 1 / 0 }}",
        "{{ nobody() }}",
        "{{ 'a' + 1 }}",
        "{{ 'a'.index('b') }}",
        "{{ messages[0].content.nothing() }}",
    ],
)
def test_a_refusal_is_of_the_row(source: str) -> None:
    with pytest.raises(RowError, match="the chat template refuses it: ") as caught:
        Template(source, "", "").render((ASK,))
    assert caught.value.code == "template_refused"


def test_a_refusal_says_the_template_s_own_words() -> None:
    with pytest.raises(RowError, match="Roles must alternate!"):
        Template("{{ raise_exception('Roles must alternate!') }}", "", "").render((ASK,))


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ (messages | first).items.__self__.__class__.__name__ }}",
        "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}",
        "{{ joiner.__init__.__globals__.os.system('touch MARKER') }}",
        "{{ namespace.__init__.__globals__.os.system('touch MARKER') }}",
        "{{ lipsum.__globals__.os.system('touch MARKER') }}",
        "{{ lipsum.__globals__['os'].system('touch MARKER') }}",
        "{{ raise_exception.__globals__['json'].codecs.open('MARKER', 'w') }}",
        "{{ raise_exception.__globals__.__builtins__.open('MARKER', 'w') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ (''|attr('__class__'))|attr('__mro__')|first }}{{ ''['__class__'].__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ '{a.__class__.__mro__}'.format_map({'a': messages}) }}",
        "{% set f = '{0.__class__.__mro__}'.format %}{{ f(messages) }}",
        "{{ ('{0.__class__.__mro__}' | attr('format'))(messages) }}",
        "{{ messages | map(attribute='__class__.__mro__') | map('first') | list }}",
        "{{ ['{0.__class__.__mro__}'] | map('format', messages) | map(attribute='__class__.__mro__.x') | list }}",
        "{{ messages.append(1) }}",
        "{{ messages.clear() }}",
        "{{ messages[0].update({'content': 'x'}) }}",
        "{% include 'secret' %}",
        "{% import 'os' as os %}",
        "{{ range(1000000000) | list }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RowError):
        Template(source, "", "").render((ASK,))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ messages.__class__ }}",
        "{{ '' | attr('__class__') }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ messages[0]['__class__'] }}",
        "{{ lipsum.__globals__ }}",
    ],
)
def test_private_attributes_are_empty(source: str) -> None:
    assert Template(source, "", "").render((ASK,)) == ""


@pytest.mark.parametrize("source", ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 'a' * 10 ** 18 }}"])
def test_templates_without_an_end(source: str) -> None:
    with pytest.raises(RowError):
        Template(source, "", "").render((ASK,))


def test_text_is_never_read_as_jinja() -> None:
    text = "{{ 7 * 7 }}{% raw %}{# x #}"
    template = Template(load_named_template("plain"), "", "")
    assert template.render((Message("user", text),)) == f"Question: {text}\n\nAnswer: "
