"""The training loop: what a step does, what a run leaves behind, studies. Several processes have a file of their own."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from vqdiff_edu import training
from vqdiff_edu.data import Batches
from vqdiff_edu.quantization.vector_quantizer import VectorQuantizer
from vqdiff_edu.training import (
    Recipe,
    begin,
    by_profile,
    code_key,
    ema_update,
    ema_weight,
    fit,
    learning_rate,
    log,
    profile,
    restore,
    save,
    seed_everything,
    study,
    tensors_of,
    train_step,
)

from ..reads import Reads

RECIPE = Recipe("unit", steps=60, batch_size=8, lr=1e-2, ema_decay=0.9, log_every=10, checkpoint_every=30, seed=2)


class Regression(nn.Module):
    """A line with a running mean of its input in a buffer, and a counter that is an integer."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def predict(self, x):  # not forward: tasks call what they like
        if self.training:
            self.mean.lerp_(x.mean(0), 0.1)
            self.calls += 1
        return self.net(x)


class Task:
    def __init__(self):
        torch.manual_seed(0)
        self.model = Regression()

    def loss(self, batch, generator):
        error = (self.model.predict(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean()
        return error, {"error": error}


def batches(**options):
    return Batches({"x": torch.randn(64, 4, generator=torch.Generator().manual_seed(0))}, 8, **options)


def change(**fields):
    return training.dataclasses.replace(RECIPE, **fields)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# ---------------------------------------------------------------- profiles, seeds, recipes


def test_profiles(monkeypatch):
    for name, want in [("smoke", 1), ("laptop", 2), ("gpu", 3)]:
        monkeypatch.setenv("VQDIFF_PROFILE", name)
        assert profile() == name and by_profile(smoke=1, laptop=2, gpu=3) == want
    assert by_profile(smoke=1, laptop=2) == 2
    monkeypatch.delenv("VQDIFF_PROFILE")
    assert profile() == "laptop"


def test_seed_everything_covers_three_libraries():
    def draw():
        seed_everything(7)
        return torch.rand(2).tolist() + np.random.rand(2).tolist() + [random.random()]

    assert draw() == draw()


def test_fingerprint_changes_with_every_field():
    other = {
        "name": "x",
        "steps": 61,
        "batch_size": 9,
        "lr": 2e-2,
        "weight_decay": 0.1,
        "betas": (0.8, 0.9),
        "warmup": 3,
        "schedule": "constant",
    }
    other |= {
        "lr_floor": 0.1,
        "grad_clip": None,
        "ema_decay": None,
        "precision": "bf16",
        "compile": True,
        "seed": 3,
        "checkpoint_every": 31,
    }
    other |= {"log_every": 11, "channels_last": True}
    assert set(other) == {f.name for f in training.dataclasses.fields(Recipe)}
    assert len({change(**{name: value}).fingerprint() for name, value in other.items()} | {RECIPE.fingerprint()}) == len(other) + 1
    assert change(compile="reduce-overhead").fingerprint() != change(compile=True).fingerprint()


def test_learning_rate_by_hand():
    recipe = change(steps=110, warmup=10, lr=1.0)
    assert [round(learning_rate(recipe, s), 6) for s in (0, 4, 9, 10, 60, 110)] == [0.1, 0.5, 1.0, 1.0, 0.5, 0.0]
    assert learning_rate(change(steps=110, warmup=10, lr=1.0, lr_floor=0.2), 110) == pytest.approx(0.2)
    assert learning_rate(change(schedule="constant", warmup=4, lr=2.0), 50) == 2.0


# ---------------------------------------------------------------- the average


def test_the_first_average_is_the_first_model_and_the_last_share_is_one_minus_decay():
    assert [ema_weight(n, 0.999) for n in (0, 1, 9, 81)] == [1, 9 / 10, 1 / 2, 1 / 10]
    assert ema_weight(100_000, 0.999) == pytest.approx(0.001)
    assert all(ema_weight(n, 0.999) >= ema_weight(n + 1, 0.999) for n in range(10_000))


def test_ema_update_moves_parameters_and_copies_buffers():
    model, average = Regression(), Regression()
    model.mean.fill_(3.0), model.calls.fill_(5)
    want = 0.75 * flat(average) + 0.25 * flat(model)
    ema_update(tensors_of(average), tensors_of(model), 0.25)
    assert torch.allclose(flat(average), want)
    assert torch.equal(average.mean, model.mean) and average.calls == 5


def test_the_model_of_a_run_is_the_average_of_its_steps(tmp_path):
    task = Task()
    t, average = begin(task, batches(), RECIPE, tmp_path), None
    for step in range(RECIPE.steps):
        train_step(t)
        average = flat(task.model) if average is None else average + ema_weight(step, 0.9) * (flat(task.model) - average)
    run = fit(Task(), batches(), RECIPE, tmp_path)
    assert torch.allclose(flat(run.model), average, atol=1e-6)
    assert not torch.allclose(flat(run.model), flat(task.model), atol=1e-6)
    assert run.model.calls == RECIPE.steps and not run.model.training


def test_without_ema_the_run_holds_the_trained_model(tmp_path):
    task = Task()
    run = fit(task, batches(), change(ema_decay=None), tmp_path)
    assert run.model is task.model and not run.model.training


# ---------------------------------------------------------------- a run


def test_fit_learns_and_tells(tmp_path):
    run = fit(Task(), batches(), RECIPE, tmp_path / "new" / "folder")
    assert [entry["step"] for entry in run.history] == [10, 20, 30, 40, 50, 60]
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert run.history[0]["error"] == pytest.approx(run.history[0]["loss"])
    assert {"lr", "grad_norm", "images_per_second"} <= run.history[0].keys()
    card = json.loads(json.dumps(run.card))
    assert card["fingerprint"] == RECIPE.fingerprint() and card["recipe"]["lr"] == 1e-2 and card["seed"] == 2
    assert card["parameters"] == 97 and card["profile"] == profile() and card["versions"]["torch"] == torch.__version__.split("+")[0]
    assert Recipe(**card["recipe"] | {"betas": tuple(card["recipe"]["betas"])}) == RECIPE


def test_same_recipe_same_run_other_seed_other_run(tmp_path):
    class Noisy(Task):
        def loss(self, batch, generator):
            return super().loss({"x": batch["x"] + torch.randn(batch["x"].shape, generator=generator)}, generator)

    a, b, c = (fit(Noisy(), batches(), change(seed=seed), tmp_path) for seed in (1, 1, 2))
    assert torch.equal(flat(a.model), flat(b.model)) and not torch.equal(flat(a.model), flat(c.model))


def test_gradients_are_clipped_together(tmp_path):
    task = Task()
    t = begin(task, batches(), change(grad_clip=0.01), tmp_path)
    train_step(t)
    norm = torch.cat([p.grad.flatten() for p in task.model.parameters()]).norm()
    assert norm == pytest.approx(0.01, rel=1e-3) and t.sums["grad_norm"] > 0.1


def test_weight_decay_spares_biases(tmp_path):
    t = begin(Task(), batches(), change(weight_decay=0.3), tmp_path)
    decays = {p.ndim: group["weight_decay"] for group in t.optimizer.param_groups for p in group["params"]}
    assert decays == {2: 0.3, 1: 0.0}


def test_bf16_rounds_the_forward_pass_only(tmp_path):
    seen = []

    class Watching(Task):
        def loss(self, batch, generator):
            seen.append(self.model.net[0](batch["x"]).dtype)
            return super().loss(batch, generator)

    task = Watching()
    run = fit(task, batches(), change(precision="bf16"), tmp_path)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in (*run.model.parameters(), *task.model.parameters())} == {torch.float32}
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]


def test_channels_last_reaches_the_kernels(tmp_path):
    class Conv:
        def __init__(self):
            self.model = nn.Conv2d(3, 8, 3)

        def loss(self, batch, generator):
            return self.model(batch["x"]).square().mean(), {}

    task = Conv()
    data = Batches({"x": torch.randn(16, 3, 8, 8)}, 8)
    fit(task, data, change(steps=2, channels_last=True), tmp_path)
    assert task.model.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("how", "mode"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_compiling_is_for_the_trained_model_only(tmp_path, monkeypatch, how, mode):
    asked, marks, task = [], [], Task()
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: asked.append((self, mode)))
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    run = fit(task, batches(), change(steps=2, compile=how), tmp_path)
    assert asked == [(task.model, mode)] and run.model is not task.model
    assert len(marks) == (2 if isinstance(how, str) else 0)  # graphs of one step must not be replayed into the next


def test_a_step_reads_nothing_back(tmp_path):
    t = begin(Task(), batches(), RECIPE, tmp_path)
    train_step(t)  # the optimizer makes its state
    with Reads() as reads:
        train_step(t)
        train_step(t)
    assert reads.found == []
    with Reads() as reads:
        log(t)
    assert reads.found  # and what is printed is read


class Codes:
    """A gradient codebook; from step 30 on nothing comes near its second code."""

    def __init__(self):
        torch.manual_seed(0)
        self.model, self.calls, self.revived = VectorQuantizer(2, 1, ema_decay=None, kmeans_init=False), 0, []
        with torch.no_grad():
            self.model.codebook.copy_(torch.tensor([[0.0], [9.0]]))

    def loss(self, batch, generator):
        self.calls += 1
        return self.model(torch.tensor([[0.0], [20.0 if self.calls < 30 else 0.0]])).loss, {}


def test_fit_revives_codes_that_learn_by_gradient_also_in_the_average(tmp_path):
    task = Codes()
    t = begin(task, batches(), change(ema_decay=0.999, lr=0.1), tmp_path)
    places = []
    for _ in range(60):
        train_step(t)
        places.append([task.model.codebook[1].item(), t.average.codebook[1].item()])
    dead = next(step for step, (code, _) in enumerate(places) if code == 0)
    assert places[dead - 1][0] > 9 and places[dead - 1][1] > 9
    assert places[dead][1] == 0  # not on the way between the old place and the new one


def test_data_that_ends_starts_again(tmp_path):
    class Once:
        def __init__(self):
            self.taken = 0

        def __iter__(self):
            for _ in range(7):
                self.taken += 1
                yield {"x": torch.ones(8, 4)}

        def state_dict(self):
            return {}

        load_state_dict = state_dict

    data = Once()
    fit(Task(), data, RECIPE, tmp_path)
    assert data.taken == RECIPE.steps


def test_a_checkpoint_continues_a_training_step_by_step(tmp_path):
    whole, part = Task(), Task()
    a = begin(whole, batches(), RECIPE, tmp_path / "a")
    for _ in range(11):
        train_step(a)
    b = begin(part, batches(), RECIPE, tmp_path / "b")
    for _ in range(5):
        train_step(b)
    save(b)
    rest = Task()
    c = begin(rest, batches(), RECIPE, tmp_path / "b")
    restore(c)
    for _ in range(6):
        train_step(c)
    seed_everything(0)
    assert torch.equal(flat(rest.model), flat(whole.model)) and log(c)["loss"] == log(a)["loss"]


def test_the_bar_shows_loss_and_images_per_second(tmp_path, monkeypatch, capsys):
    shown = []

    class Bar(training.tqdm):
        def set_postfix(self, **values):
            shown.append(values)

    monkeypatch.setattr(training, "tqdm", Bar)
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    run = fit(Task(), batches(), RECIPE, tmp_path)
    assert [v["loss"] for v in shown] == [f"{entry['loss']:.4f}" for entry in run.history]
    assert all(float(v["images_per_s"]) > 0 for v in shown)
    written = capsys.readouterr().err
    assert "unit" in written and "/60" in written and len(written) < 2000  # a log file stays small


def test_importing_does_not_import_accelerate():
    program = "import sys, vqdiff_edu.training; sys.exit('accelerate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


# ---------------------------------------------------------------- studies


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "settings.ini").touch()
    (tmp_path / "nbs").mkdir()
    monkeypatch.chdir(tmp_path / "nbs")
    monkeypatch.setenv("VQDIFF_PROFILE", "laptop")
    monkeypatch.setattr(training, "SOURCES_USED", {})  # as if no test before had loaded any data
    return tmp_path / "results" / "squares.json"


def test_a_study_stopped_half_way_goes_on(repository):
    ran = []

    def square(x):
        ran.append(x)
        if ran == [1, 2, 3]:
            raise KeyboardInterrupt
        return {"square": torch.tensor(x**2)}

    cases = [{"x": x} for x in (1, 2, 3)]
    with pytest.raises(KeyboardInterrupt):
        study("squares", square, cases)
    rows = study("squares", square, cases[::-1])
    assert ran == [1, 2, 3, 3]
    assert [row["case"]["x"] for row in rows] == [3, 2, 1] and [row["outcome"]["square"] for row in rows] == [9, 4, 1]
    assert {row["profile"] for row in rows} == {"laptop"} and all(row["seconds"] >= 0 and row["source"] for row in rows)
    assert len(json.loads(repository.read_text())) == 3


def test_a_study_of_another_profile_runs_anew(repository, monkeypatch):
    answers = [[1, 2], 0]

    def answer(x):
        return {"square": answers.pop(0)}

    for name, want in (("laptop", [1, 2]), ("laptop", [1, 2]), ("gpu", 0)):
        monkeypatch.setenv("VQDIFF_PROFILE", name)
        assert study("squares", answer, [{"x": (1, 2)}])[0]["outcome"]["square"] == want


def written(text: str, name: str = "run"):
    """A function from the text of a notebook's cell."""
    written.count += 1
    cell, scope = f"<cell {written.count}>", {"__name__": "__main__"}
    training.linecache.cache[cell] = (len(text), None, text.splitlines(True), cell)
    exec(compile(text, cell, "exec"), scope)
    return scope[name]


written.count = 0
CELL = """
def helper(x):
    return x + 1


class Model:
    size = 3

    def __call__(self, x):
        return helper(x)


TABLE = {"twice": lambda x: 2 * x}


def run(x):
    return {"y": Model()(x) + TABLE["twice"](x)}


def other(x):
    return x
"""


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("    return {", "    # a comment\n    return {", True),
        ("def run(x):", 'def run(x):\n    """A docstring."""', True),
        ("def other(x):\n    return x", "def other(x):\n    return -x", True),  # it is not reached
        ("return {", "x = x\n    return {", False),
        ("return x + 1", "return x + 2", False),
        ("return helper(x)", "return helper(-x)", False),
        ("lambda x: 2 * x", "lambda x: 3 * x", False),
        ("def helper", "#| exports\ndef helper", True),  # only a cell's first line says that it is exported
    ],
)
def test_the_key_of_a_study_follows_the_code_that_its_run_reaches(before, after, same):
    assert CELL.count(before) == 1
    assert (code_key(written(CELL)) == code_key(written(CELL.replace(before, after)))) is same


def test_code_that_is_exported_to_the_package_is_no_part_of_a_key():
    cells = {n: "#| exports\n" + CELL.replace("x + 1", f"x + {n}") for n in (1, 2)}
    mine = [written("def run(x):\n    return helper(x)\n") for _ in cells]
    for run, cell in zip(mine, cells.values()):
        run.__globals__["helper"] = written(cell, "helper")
    assert code_key(mine[0]) == code_key(mine[1])


def test_rows_of_changed_code_are_measured_again_and_replaced(repository):
    cases = [{"x": 2}, {"x": 3}]
    study("squares", written("def run(x):\n    return {'y': x}\n"), cases)
    squared = written("def run(x):\n    return {'y': x**2}\n")
    assert [row["outcome"]["y"] for row in study("squares", squared, cases[:1])] == [4]
    rows = json.loads(repository.read_text())
    assert sorted((row["case"]["x"], row["outcome"]["y"]) for row in rows) == [(2, 4), (3, 3)]
    assert {row["code"] for row in rows if row["outcome"]["y"] == 4} == {code_key(squared)}


def test_a_row_that_says_nothing_of_its_code_is_measured_again(repository):
    repository.parent.mkdir()
    repository.write_text(json.dumps([{"case": {"x": 2}, "outcome": {"y": 7}, "seconds": None, "source": "mnist", "profile": "laptop"}]))
    assert study("squares", lambda x: {"y": x}, [{"x": 2}])[0]["outcome"]["y"] == 2


def test_smoke_neither_reads_nor_writes(repository, monkeypatch):
    study("squares", lambda x: {"square": x}, [{"x": 1}])
    before = repository.read_bytes()
    monkeypatch.setenv("VQDIFF_PROFILE", "smoke")
    assert study("squares", lambda x: {"square": 7}, [{"x": 1}, {"x": 2}])[0]["outcome"]["square"] == 7
    assert repository.read_bytes() == before


def test_a_study_on_a_standin_is_not_kept(repository, monkeypatch, capsys):
    monkeypatch.setattr(training, "SOURCES_USED", {"digits, train, stand-in": "stand-in", "digits, train, auto": "mnist"})

    def square(x):
        return {"square": x * x}

    study("squares", square, [{"x": 2}])
    assert len(json.loads(repository.read_text())) == 1 and not capsys.readouterr().out  # a stand-in that was asked for is no lack
    monkeypatch.setattr(training, "SOURCES_USED", {"digits, train, auto": "stand-in"})
    rows = study("squares", square, [{"x": 2}, {"x": 3}])
    assert [row["outcome"]["square"] for row in rows] == [4, 9] and len(json.loads(repository.read_text())) == 1
    assert "squares.json: measured on mnist, stand-in, read from results/; the data here are a stand-in" in capsys.readouterr().out
