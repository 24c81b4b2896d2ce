"""A watch that counts how often a number is read back from the device: on a GPU each read makes the host wait."""

from torch.utils._python_dispatch import TorchDispatchMode

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount", "unique", "_unique2", "repeat_interleave")


class Reads(TorchDispatchMode):
    """`with Reads() as reads: …` and then `reads.found`: the operators that would have waited for the device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))
