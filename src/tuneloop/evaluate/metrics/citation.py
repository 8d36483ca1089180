"""Legal citations: whether an answer cites the articles of law that it should, and none that do not exist."""

from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.data.legal.citation import find_citations
from tuneloop.evaluate.metrics.statute_book import Article, StatuteBook, law_key


class Citations:
    """Micro F1 of the cited articles of Chinese law, 0 to 1.

        F1 = 2 * right / (cited + expected)
        right: articles that an answer and its reference both cite
        cited, expected: articles that the answers cite, that the references cite

    All three are summed over the set. An article counts once in a text, however often and with whatever paragraph it
    is cited; 第一百三十三条之一 is another article than 第一百三十三条. Of several references the one with the best F1
    counts. Citations are read by `data.legal.citation.find_citations`, so a bare 第六十七条 has the law named before
    it, and 刑法 is 中华人民共和国刑法. An article without any law before it is no citation.

    Parts: `precision` = right / cited; `recall` = right / expected; with a statute book `invented` = cited articles
    that are not in it / cited articles of laws that it holds, and `unknown_law` = cited articles of other laws /
    cited. A book of old and new versions takes an article of any of them for real.
    0 of 0: F1, precision and recall are 1 where nothing was expected and nothing cited; else precision is 0 where
    nothing was cited, recall 0 where nothing was expected; invented and unknown_law are 0.

    By hand: 《刑法》第一条、第二条 against 刑法第二条和第三条: 1 right of 2 cited and 2 expected, F1 = 1/2.
    """

    higher_is_better = True
    is_proportion = False

    def __init__(self, book: StatuteBook | None = None, *, name: str = "citation") -> None:
        self.name = name
        self._book = book
        self._book_hash = "no" if book is None else book.digest()[:12]

    def signature(self) -> str:
        """What is compared, the statute book, treatment of references, version."""
        return (
            f"value:micro-f1|unit:law+article|book:{self._book_hash}|refs:best|version:tuneloop-{tuneloop.__version__}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[articles right, cited, expected; of the cited ones invented, of an unknown law]."""
        cited = cited_articles(prediction)
        expected = max(map(cited_articles, references), key=lambda articles: _f1(*_counts(cited, articles)))
        invented = unknown = 0
        if self._book is not None:
            unknown = sum(article.law not in self._book.laws for article in cited)
            invented = len(cited - self._book.articles) - unknown
        return np.array([*_counts(cited, expected), invented, unknown], dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """The micro F1."""
        return _f1(*totals_K[:3].tolist())

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The F1 of one answer."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`precision`, `recall`, `f1`, and with a statute book `invented` and `unknown_law`."""
        right, cited, expected, invented, unknown = totals_K.tolist()
        is_silent = float(not cited and not expected)
        shares = {
            "precision": right / cited if cited else is_silent,
            "recall": right / expected if expected else is_silent,
            "f1": _f1(right, cited, expected),
        }
        if self._book is None:
            return shares
        known = cited - unknown
        return shares | {
            "invented": invented / known if known else 0.0,
            "unknown_law": unknown / cited if cited else 0.0,
        }


def cited_articles(text: str) -> frozenset[Article]:
    """The articles of Chinese law that `text` cites, each once: 《刑法》第一条第二款 and 刑法第1条 are the same."""
    return frozenset(
        Article(law_key(citation.law), citation.article, citation.article_suffix) for citation in find_citations(text)
    )


def _counts(cited: frozenset[Article], expected: frozenset[Article]) -> tuple[int, int, int]:
    return len(cited & expected), len(cited), len(expected)


def _f1(right: float, cited: float, expected: float) -> float:
    return 2 * right / (cited + expected) if cited + expected else 1.0
