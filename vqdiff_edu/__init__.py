"""VQ-VAE and diffusion models: the code that the chapters of the book leave behind.  `load_pretrained(name)` gives a trained model."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """`load_pretrained` and `list_models` are found when they are first asked for, so that `import vqdiff_edu` stays quick."""
    if name in ("load_pretrained", "list_models"):
        from . import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
