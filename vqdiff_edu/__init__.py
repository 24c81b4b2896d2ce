"""VQ-VAE and diffusion models: the code that the chapters of the book leave behind.  `load_pretrained(name)` gives a trained model."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """`load_pretrained` is found when it is first asked for, so that `import vqdiff_edu` stays quick."""
    if name == "load_pretrained":
        from .registry import load_pretrained

        return load_pretrained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
