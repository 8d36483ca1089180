"""The exceptions that a user can meet, each with the exit code that scripts may rely on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees. The numbers are an interface: they do not change their meaning."""

    DONE = 0
    BUG = 1
    """An error of ours, with a traceback."""
    USER_INPUT = 2
    """The recipe, the data, the arguments: what, where and what to do is printed."""
    REJECTED = 3
    """The run ended well, and its gate kept the base model: nothing measured better."""
    NON_FINITE = 4
    """Loss or gradient was not a finite number for several steps in a row."""
    STOPPED = 5
    """Stopped by a signal, after saving. The same command goes on."""
    LOCKED = 6
    """Another process owns the run folder."""
    INTEGRITY = 7
    """A file differs from the hash that it was saved under, and no good copy is left."""
    DISK = 8
    """The disk is full or refuses to write."""
    MISSING = 9
    """An optional package, a model or a network that the command needs is not there."""
    MEMORY = 10
    """Memory ran out; the error names the change of the recipe that would fit."""


class TuneloopError(Exception):
    """Any error that is told to the user in one paragraph, without a traceback."""

    exit_code = ExitCode.USER_INPUT


class ConfigError(TuneloopError):
    """A recipe or an option is wrong."""


class DataError(TuneloopError):
    """The rows cannot be used as they are."""


class ModelError(TuneloopError):
    """A model folder or name cannot be used."""


class ContractError(TuneloopError):
    """The prompt of a stage would differ from the prompt that was trained on."""


class NonFiniteError(TuneloopError):
    """Training met NaN or infinity too many times in a row."""

    exit_code = ExitCode.NON_FINITE


class StoppedError(TuneloopError):
    """A signal asked for an end, and everything is saved."""

    exit_code = ExitCode.STOPPED


class LockedError(TuneloopError):
    """Another process works in this folder."""

    exit_code = ExitCode.LOCKED


class IntegrityError(TuneloopError):
    """What is on disk is not what was written."""

    exit_code = ExitCode.INTEGRITY


class DiskError(TuneloopError):
    """The disk did not take what had to be written."""

    exit_code = ExitCode.DISK


class MissingError(TuneloopError):
    """Something that has to be installed or fetched first."""

    exit_code = ExitCode.MISSING


class OutOfMemoryError(TuneloopError):
    """Training needed more memory than there was."""

    exit_code = ExitCode.MEMORY


class BudgetError(TuneloopError):
    """The next call to an endpoint could pass the budget. Everything that was answered is in the log."""


class EndpointError(TuneloopError):
    """An endpoint does not answer any more. Everything that was answered is in the log."""

    exit_code = ExitCode.MISSING
