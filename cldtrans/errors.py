"""Errors that a user can act on; the command line prints them as one line and exits with code 2."""


class CldtransError(Exception):
    """A problem whose message names the cause, what was expected and what to do."""


class ConfigError(CldtransError):
    """A config file or overlay that cannot be used."""


class DataError(CldtransError):
    """A file or recording that cannot be used; during preprocessing it quarantines the recording."""


class SourceError(CldtransError):
    """A download that failed for good: missing key, wrong checksum, no room, endless server errors."""
