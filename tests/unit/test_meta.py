"""A model owns its parts: what `.to` does not move is hidden somewhere, and would stay on the CPU when the rest goes to a GPU."""

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from vqdiff_edu import load_pretrained
from vqdiff_edu.weights import available

META = torch.device("meta")
PLAIN = (str, bytes, int, float, complex, bool, type(None), type, torch.dtype, torch.device, torch.Generator)


def inside(name: str, value) -> Iterator[tuple[str, object]]:
    """What a module, a plain container or an object of the package holds, by name."""
    if isinstance(value, nn.Module):
        registered = {**value._parameters, **value._buffers, **value._modules}
        plain = {key: item for key, item in vars(value).items() if key not in ("_parameters", "_buffers", "_modules")}
        yield from ((f"{name}.{key}", item) for key, item in {**plain, **registered}.items())
    elif isinstance(value, Mapping):
        yield from ((f"{name}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"{name}[{i}]", item) for i, item in enumerate(value))
    elif type(value).__module__.startswith("vqdiff_edu"):
        slots = (s for base in type(value).__mro__ for s in getattr(base, "__slots__", ()))
        held = vars(value) if hasattr(value, "__dict__") else {s: getattr(value, s) for s in slots if hasattr(value, s)}
        yield from ((f"{name}.{key}", item) for key, item in held.items())


def left_behind(model: nn.Module) -> list[str]:
    """Every tensor that is reachable from a model's attributes and is not on the meta device, and every module that is not one of its own."""
    own, seen, found = set(map(id, model.modules())), set(), []

    def visit(name: str, value, in_schedule: bool = False) -> None:
        if isinstance(value, PLAIN) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.device != META and not in_schedule:
                found.append(f"{name}: a tensor on {value.device}")
        elif isinstance(value, nn.Module) and id(value) not in own:
            found.append(f"{name}: a hidden {type(value).__name__}")
        else:
            for key, item in inside(name, value):
                visit(key, item, in_schedule or is_schedule(value))

    visit(type(model).__name__, model)
    return found


def is_schedule(value) -> bool:
    """A noise schedule's tables are in float64 on the host by design, and are looked up on the device of t."""
    from vqdiff_edu.diffusion.schedule import NoiseSchedule

    return isinstance(value, NoiseSchedule)


@pytest.mark.parametrize("name", available())
def test_every_part_of_a_shipped_model_follows_to(name):
    model = load_pretrained(name)
    model.to(META)
    assert all(tensor.device == META for tensor in (*model.parameters(), *model.buffers()))
    assert left_behind(model) == []


class Honest(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.sizes, self.options = nn.Linear(2, 2), (1, 2), {"names": ["a", "b"]}
        self.register_buffer("table", torch.zeros(3))


class Hiding(Honest):
    def __init__(self, where: str):
        super().__init__()
        hidden = {
            "tuple": lambda: setattr(self, "parent", (nn.Linear(2, 2),)),
            "past setattr": lambda: object.__setattr__(self, "parent", nn.Linear(2, 2)),
            "dictionary": lambda: setattr(self, "parents", {"first": [nn.Linear(2, 2)]}),
            "tensor": lambda: setattr(self, "scale", torch.ones(2)),
            "tensor of a part": lambda: setattr(self.layer, "scale", [torch.ones(2)]),
        }
        hidden[where]()


def test_a_module_that_registers_its_parts_leaves_nothing_behind():
    assert left_behind(Honest().to(META)) == []


@pytest.mark.parametrize("where", ["tuple", "past setattr", "dictionary", "tensor", "tensor of a part"])
def test_a_part_that_is_hidden_is_found(where):
    assert left_behind(Hiding(where).to(META))
