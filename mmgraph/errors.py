"""What can go wrong, by kind; every message says what must hold, what was got and what to do."""


class MMGraphError(Exception):
    """Base of all errors that mmgraph raises on purpose."""


class SchemaError(MMGraphError, ValueError):
    """A graph is not what its schema says, or a schema contradicts itself."""


class DataError(MMGraphError, ValueError):
    """Records, splits or files of data that can't be used as they are."""


class ConfigError(MMGraphError, ValueError):
    """An option, or a combination of options, that can't work."""


class ArtifactError(MMGraphError, ValueError):
    """A file that mmgraph wrote (checkpoint, index, run) is damaged or belongs to something else."""


class MissingPackageError(MMGraphError, ImportError):
    """An optional package is needed and not installed."""
