"""Errors of the models folder."""


class ModelsError(Exception):
    """Something about a host model or an adapter is unusable."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class InvalidConfig(ModelsError, ValueError):
    """The configuration of a module names an unknown key, an unknown design or a value out of range."""


class UnknownHost(ModelsError, KeyError):
    """The model is of no host family that is listed in models/hosts.py."""


class AttachmentError(ModelsError):
    """The host cannot take the modules, or already has them; call `detach` first or change the configuration."""


class UnresolvedPrior(ModelsError, ValueError):
    """It cannot be told which image is whose prior; give `input_ids` with placeholders, or a `prior_index`."""


class UnsupportedInput(ModelsError, NotImplementedError):
    """The attached modules cannot read this kind of visual input; give still images."""


class AdapterError(ModelsError):
    """The saved adapter is damaged, of an unknown format, or was made for another host."""
