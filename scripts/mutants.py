"""Plant known bugs in a copy of the package, one at a time, and see that a test fails for each.

    python scripts/mutants.py                    every bug, against the test files that should see it
    python scripts/mutants.py --only heun        those whose name contains "heun"
    python scripts/mutants.py --jobs 2           two at once
    python scripts/mutants.py --chapters         against the `verify` cells of the chapter that exports the code
    python scripts/mutants.py --chapters --only diffusion/     … for the chapters of one room

A bug is one short replacement in one module.  It is "killed" when a test fails, it has "survived" when all pass.  A snippet that is not in its module
exactly once is an error: the list follows the code.  The exit status is 1 if a bug survives that is not said to be harmless, or if there was an error.
With --chapters the bug is planted in the notebook's own cell too, and "seen" means that one of its `verify` lines failed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 10  # a mutant that runs longer than this hangs, and is seen by that
CENTRE = range(20, 27)  # chapters whose own checks are to see four bugs in five


class Mutant(NamedTuple):
    """A bug: in `module` (below vqdiff_edu/) the text `old`, which is there once, becomes `new`; one of the `tests` should fail."""

    name: str
    module: str
    old: str
    new: str
    tests: str  # names of test files without "test_", by default of both tests/unit and tests/property
    harmless: str = ""  # why it may survive


MUTANTS = [
    # ---- the forward process
    Mutant("q_sample: variance for deviation", "diffusion/schedule.py", "(1 - alpha_bar).sqrt()", "(1 - alpha_bar)", "schedule"),
    Mutant("alpha_bar: off by one", "diffusion/schedule.py", ".reshape(-1) + 1)", ".reshape(-1))", "schedule"),
    Mutant(
        "alpha_bar of a plain number: off by one",
        "diffusion/schedule.py",
        "self.num_timesteps - 1) + 1]",
        "self.num_timesteps - 1)]",
        "schedule",
    ),
    Mutant("cosine: not squared", "diffusion/schedule.py", "math.pi / 2) ** 2", "math.pi / 2)", "schedule"),
    Mutant(
        "log-SNR: of amplitudes",
        "diffusion/schedule.py",
        "self.alphas_cumprod.log() - torch.log1p(-self.alphas_cumprod)",
        "0.5 * (self.alphas_cumprod.log() - torch.log1p(-self.alphas_cumprod))",
        "schedule",
    ),
    # ---- the reverse posterior
    Mutant("posterior: alphas[t] for a stride", "diffusion/posterior.py", "alpha = ab_t / ab_s", "alpha = schedule.alphas[t]", "posterior"),
    Mutant("posterior: mean with alpha_bar of t for s", "diffusion/posterior.py", "ab_s.sqrt() * beta", "ab_t.sqrt() * beta", "posterior"),
    Mutant(
        "posterior: log of the deviation",
        "diffusion/posterior.py",
        "smallest_variance(schedule).to(variance)).log()",
        "smallest_variance(schedule).to(variance)).sqrt().log()",
        "posterior",
    ),
    # ---- parameterizations
    Mutant(
        "v: rates swapped",
        "diffusion/parameterization.py",
        "signal * x - noise * output",
        "noise * x - signal * output",
        "parameterization",
    ),
    Mutant("min-SNR: v without + 1", "diffusion/parameterization.py", '"v": snr + 1}', '"v": snr}', "parameterization"),
    Mutant(
        "guidance: the paper's w",
        "process.py",
        "return u + s.view",
        "return c + s.view",
        "unit/process parameterization",
    ),
    Mutant(
        "clipping: eps stays behind",
        "diffusion/parameterization.py",
        "self.from_x_start(x_start if self.clip_range is None else x_start.clamp(*self.clip_range), x, t)",
        "self.from_x_start(x_start, x, t)._replace(x_start=x_start if self.clip_range is None else x_start.clamp(*self.clip_range))",
        "parameterization",
    ),
    Mutant(
        "large variance: beta at the last step",
        "diffusion/parameterization.py",
        "torch.where(ab_s < 1, 1 - ab_t / ab_s, smallest_variance(schedule).to(ab_t))",
        "1 - ab_t / ab_s",
        "parameterization unit/planted",
    ),
    # ---- samplers
    Mutant(
        "DDPM: noise on the last step",
        "diffusion/samplers.py",
        "mean if _is_last(s) else mean + (",
        "mean + (",
        "samplers",
    ),
    Mutant("DDPM: variance for deviation", "diffusion/samplers.py", "(0.5 * log_variance).exp()", "log_variance.exp()", "samplers"),
    Mutant("DDIM: eta for its square", "diffusion/samplers.py", "eta**2 *", "eta *", "samplers unit/planted"),
    Mutant("DDIM: variance not taken off", "diffusion/samplers.py", "(1 - ab_s - variance)", "(1 - ab_s)", "samplers"),
    Mutant("DPM++: ratio upside down", "diffusion/samplers.py", "h / h_before", "h_before / h", "samplers"),
    Mutant("DPM++: half missing", "diffusion/samplers.py", "0.5 * (h / h_before)", "(h / h_before)", "samplers"),
    Mutant("DPM++: first order", "diffusion/samplers.py", "if before is not None:", "if False:", "samplers"),
    Mutant("Heun: second slope asked at t", "diffusion/samplers.py", "denoise(ahead, s)", "denoise(ahead, t)", "samplers unit/planted"),
    Mutant("Heun: no corrector", "diffusion/samplers.py", "0.5 * (p.v + denoise(ahead, s).v)", "p.v", "samplers unit/planted"),
    Mutant("walk: ends at t = 0", "diffusion/samplers.py", "last: float = -1", "last: float = 0", "samplers"),
    # ---- vector quantization
    Mutant(
        "VQ: beta on the codebook's term",
        "quantization/vector_quantizer.py",
        "commitment + codebook_term(vectors, chosen)",
        "commitment_term(vectors, chosen) + self.commitment_cost * codebook_term(vectors, chosen)",
        "vector_quantizer",
    ),
    Mutant(
        "revival: the running sum forgotten",
        "quantization/vector_quantizer.py",
        "self.total.copy_(torch.where(idle[:, None], from_first_process(vectors[chosen]) * self.revive_below, self.total))",
        "pass",
        "vector_quantizer",
    ),
    Mutant(
        "EMA codebook: decay for its complement",
        "quantization/vector_quantizer.py",
        "1 - (GRADIENT_DECAY if",
        "(GRADIENT_DECAY if",
        "vector_quantizer",
    ),
    Mutant(
        "k-means++: distance for its square",
        "quantization/kmeans.py",
        "distance.clamp_min(1e-12)",
        "distance.clamp_min(1e-12).sqrt()",
        "vector_quantizer unit/planted",
    ),
    Mutant("nearest code: product not doubled", "quantization/kmeans.py", "alpha=-2)", "alpha=-1)", "vector_quantizer"),
    Mutant(
        "VQ, two processes: counts averaged",
        "quantization/vector_quantizer.py",
        "dist.all_reduce(tensor)",
        "dist.all_reduce(tensor.div_(dist.get_world_size()))",
        "unit/processes",
    ),
    Mutant(
        "codebook term: no detach",
        "quantization/vector_quantizer.py",
        "F.mse_loss(chosen, vectors.detach())",
        "F.mse_loss(chosen, vectors)",
        "vector_quantizer",
    ),
    Mutant(
        "k-means start: at every batch",
        "quantization/vector_quantizer.py",
        "self.started.fill_(True)\n        self.placed = True",
        "pass",
        "vector_quantizer",
    ),
    Mutant(
        "rotation: no stretch",
        "quantization/estimators.py",
        "turned * (norm_q / norm_e.masked_fill(no_direction, 1.0))",
        "turned",
        "estimators",
    ),
    Mutant("rotation: half a mirror", "quantization/estimators.py", "turned - 2 * (turned", "turned - (turned", "estimators"),
    Mutant("Gumbel: sign", "quantization/estimators.py", "(logits - waiting.log())", "(logits + waiting.log())", "estimators"),
    # ---- other quantizers
    Mutant("FSQ: L steps for L - 1", "quantization/quantizers.py", "(sizes - 1) / 2", "sizes / 2", "quantizers"),
    Mutant(
        "FSQ: the first digit counts most",
        "quantization/quantizers.py",
        "sizes.cumprod(0) // sizes",
        "sizes.prod() // sizes.cumprod(0)",
        "quantizers",
    ),
    Mutant(
        "FSQ: straight through the tanh",
        "quantization/quantizers.py",
        "straight_through(squeezed, digits",
        "straight_through(z_e, digits",
        "quantizers",
    ),
    Mutant("LFQ: spread with the wrong sign", "quantization/quantizers.py", "(doubt - spread)", "(doubt + spread)", "quantizers"),
    Mutant("LFQ: half the logit", "quantization/quantizers.py", "logits = 4 * vectors", "logits = 2 * vectors", "quantizers"),
    Mutant(
        "LFQ: patterns in another order",
        "quantization/quantizers.py",
        "[table * (1 - one[:, None]), table * one[:, None]]",
        "[table * one[:, None], table * (1 - one[:, None])]",
        "quantizers",
    ),
    Mutant(
        "LFQ, two processes: each its own spread",
        "quantization/quantizers.py",
        "everyone = sum_over_processes(mean.detach().clone())",
        "everyone = mean.detach()",
        "unit/quantizer_processes",
    ),
    Mutant(
        "SimVQ: codes as drawn",
        "quantization/quantizers.py",
        "return self.map(self.drawn)",
        "return self.drawn + 0 * self.map(self.drawn)",
        "quantizers",
    ),
    Mutant(
        "SimVQ: no codebook term",
        "quantization/quantizers.py",
        "commitment_term(vectors, chosen) + codebook_term(vectors, chosen)",
        "commitment_term(vectors, chosen)",
        "quantizers",
    ),
    Mutant(
        "Gumbel quantizer: the largest logit while training",
        "quantization/quantizers.py",
        "drawn.detach().argmax(1)",
        "logits.argmax(1)",
        "quantizers",
    ),
    Mutant(
        "Gumbel quantizer: KL without ln K",
        "quantization/quantizers.py",
        ".mean() + math.log(self.num_embeddings)",
        ".mean()",
        "quantizers",
    ),
    Mutant("residual: nothing subtracted", "quantization/quantizers.py", "left = left - code\n", "left = left - 0 * code\n", "quantizers"),
    Mutant(
        "residual: the code not detached",
        "quantization/quantizers.py",
        "code = found[-1].z_q.detach()",
        "code = found[-1].z_q",
        "quantizers",
    ),
    # ---- from a sentence to a scene
    Mutant(
        "painter: sees the codes to come",
        "crossmodal/text2image.py",
        "mask = causal_mask(n, n, x.device) | (torch.arange(n, device=x.device) < m) if self.causal else None",
        "mask = None",
        "text2image",
    ),
    Mutant(
        "painter: words do not see the words behind them",
        "crossmodal/text2image.py",
        "causal_mask(n, n, x.device) | (torch.arange(n, device=x.device) < m)",
        "causal_mask(n, n, x.device)",
        "text2image",
    ),
    Mutant(
        "painter: handed its own code",
        "crossmodal/text2image.py",
        "around = (-1, 1 - side, -side, -1 - side)",
        "around = (0, 1 - side, -side, -1 - side)",
        "text2image",
    ),
    Mutant(
        "painter: mean over the codes for their sum",
        "crossmodal/text2image.py",
        'codes, reduction="none").sum(1)',
        'codes, reduction="none").mean(1)',
        "text2image",
    ),
    Mutant(
        "painter: the other captions hidden",
        "crossmodal/text2image.py",
        "device=words.device) < share",
        "device=words.device) > share",
        "text2image",
    ),
    Mutant(
        "painter masks: visible codes count too",
        "crossmodal/text2image.py",
        "(nats * hidden).sum(1) / hidden.sum(1)",
        "nats.mean(1)",
        "text2image",
    ),
    Mutant(
        "reader: rows and columns exchanged",
        "crossmodal/text2image.py",
        "upright = len(column) >= len(row)",
        "upright = len(column) < len(row)",
        "text2image",
    ),
    Mutant(
        "reader: crumbs are things",
        "crossmodal/text2image.py",
        "max(bottom - top, right - left) < CRUMB",
        "max(bottom - top, right - left) < 0",
        "text2image",
    ),
    Mutant("plan: the worth turned round", "crossmodal/text2image.py", "untold - told]))", "told - untold]))", "text2image"),
    Mutant("plan: order turned round", "crossmodal/text2image.py", "boxes[..., :2].sum(2)", "-boxes[..., :2].sum(2)", "text2image"),
    Mutant(
        "plan: a place is told nothing of its row",
        "crossmodal/text2image.py",
        "+ self.row(inside[..., 0])",
        "+ 0 * self.row(inside[..., 0])",
        "text2image",
    ),
    Mutant("plan: nearer than the gap", "crossmodal/text2image.py", "- ends[:, :-1] >= GAP)", "- ends[:, :-1] >= 0)", "text2image"),
    Mutant(
        "plan: tokens of any kind anywhere",
        "crossmodal/text2image.py",
        "logits.masked_fill(~self.kinds, -torch.inf)",
        "logits",
        "text2image",
    ),
    Mutant(
        "plan: no part may be none", "crossmodal/text2image.py", "kinds[:3, self.none] = True", "kinds[:1, self.none] = True", "text2image"
    ),
    Mutant(
        "plan: a thing is there if any part is",
        "crossmodal/text2image.py",
        "(digit != self.none) & (size != self.none) & (ink != self.none)",
        "(digit != self.none) | (size != self.none) | (ink != self.none)",
        "text2image",
    ),
    Mutant(
        "plan: the parts see one another", "crossmodal/text2image.py", "[:, :, [0, 0, 0, 1, 2]]", "[:, :, [0, 1, 2, 1, 2]]", "text2image"
    ),
    Mutant(
        "plan: only the ink is handed on",
        "crossmodal/text2image.py",
        "torch.stack(said[-len(kinds) :], dim=1)",
        "torch.stack(said[-1:], dim=1)",
        "text2image",
    ),
    Mutant(
        "plan: the ends as they stand",
        "crossmodal/text2image.py",
        "(plan.things[:, 2] >= 0) & (plan.things[:, 0] > plan.things[:, 2])",
        "plan.things[:, 2] > 99",
        "text2image",
    ),
    Mutant(
        "plan: told and untold exchanged",
        "crossmodal/text2image.py",
        "repeat_interleave(len(words)) == 0",
        "repeat_interleave(len(words)) == 1",
        "text2image",
    ),
    Mutant("one word: another style", "crossmodal/text2image.py", "SYNONYMS[other][style]", "SYNONYMS[other][0]", "text2image"),
    # ---- priors over codes
    Mutant(
        "prior: mean over the codes for their sum",
        "quantization/code_prior.py",
        'reduction="none").sum(1)',
        'reduction="none").mean(1)',
        "code_prior",
    ),
    Mutant(
        "prior: sees the codes to come",
        "quantization/code_prior.py",
        "self.tokens(codes[:, :-1], labels)",
        "self.tokens(codes[:, 1:], labels)",
        "code_prior",
    ),
    Mutant(
        "prior: the label's token is a code's",
        "quantization/code_prior.py",
        "self.num_codes + labels[:, None], codes], dim=1)\n\n    def nll",
        "labels[:, None], codes], dim=1)\n\n    def nll",
        "code_prior",
    ),
    Mutant("bits: multiplied by ln 2", "quantization/code_prior.py", "nats / math.log(2)", "nats * math.log(2)", "code_prior"),
    Mutant("guidance: away from the label", "quantization/code_prior.py", "u + scale * (c - u)", "u + scale * (u - c)", "code_prior"),
    Mutant(
        "temperature: multiplied",
        "quantization/code_prior.py",
        "logits = logits / temperature",
        "logits = logits * temperature",
        "code_prior",
    ),
    Mutant("top-p: without the code that crosses", "quantization/code_prior.py", "before >= p", "before + probability >= p", "code_prior"),
    Mutant(
        "hidden labels: the others",
        "quantization/code_prior.py",
        "device=labels.device) < share",
        "device=labels.device) > share",
        "code_prior",
    ),
    Mutant(
        "masks: visible codes count too",
        "quantization/code_prior.py",
        "(nats * hidden).sum(1) / hidden.sum(1)",
        "nats.mean(1)",
        "code_prior",
    ),
    Mutant("masks: evenly many", "quantization/code_prior.py", "torch.cos(u * math.pi / 2)", "u", "code_prior"),
    Mutant("schedule: even", "quantization/code_prior.py", "math.cos(math.pi / 2 * step / steps)", "(1 - step / steps)", "code_prior"),
    Mutant(
        "reveal: the least confident",
        "quantization/code_prior.py",
        "torch.inf).argsort(1)[:, :left]",
        "torch.inf).argsort(1, descending=True)[:, :left]",
        "code_prior text2image",
    ),
    Mutant(
        "reveal: known codes are hidden again",
        "quantization/code_prior.py",
        "masked_fill(~unknown, torch.inf)",
        "masked_fill(~unknown, -torch.inf)",
        "code_prior",
    ),
    Mutant(
        "reveal: Gumbel's sign",
        "quantization/code_prior.py",
        "gumbel = -torch.log(",
        "gumbel = torch.log(",
        "code_prior",
    ),
    # ---- one space for several senses
    Mutant(
        "matching: a fact that is not stated contradicts",
        "crossmodal/retrieval.py",
        "(a == b) | (a < 0) | (b < 0)",
        "(a == b) | (a < 0)",
        "retrieval",
    ),
    Mutant(
        "ranking: the worst first",
        "crossmodal/retrieval.py",
        "argsort(dim=1, descending=True, stable=True)",
        "argsort(dim=1, stable=True)",
        "retrieval",
    ),
    Mutant("recall: of all places", "crossmodal/retrieval.py", "marks[:, :k].any(1)", "marks.any(1)", "retrieval"),
    Mutant(
        "average precision: places from 0",
        "crossmodal/retrieval.py",
        "torch.arange(1, marks.shape[1] + 1,",
        "torch.arange(marks.shape[1],",
        "retrieval",
    ),
    Mutant(
        "average precision by chance: r for r - 1",
        "crossmodal/retrieval.py",
        "(relevant - 1) / (items - 1)",
        "relevant / (items - 1)",
        "retrieval",
    ),
    Mutant(
        "InfoNCE: softmax over the rows",
        "crossmodal/retrieval.py",
        "-scores.log_softmax(1).diagonal()",
        "-scores.log_softmax(0).diagonal()",
        "retrieval",
    ),
    Mutant(
        "Gaussian information: without the half",
        "crossmodal/retrieval.py",
        "return -dim / 2 * math.log",
        "return -dim * math.log",
        "retrieval",
    ),
    Mutant(
        "Gaussian log-ratio: variance of y left out", "crossmodal/retrieval.py", "- rho**2 * squares", "+ rho**2 * squares", "retrieval"
    ),
    Mutant("all partners: their sum", "crossmodal/retrieval.py", "* positive).sum(1) / positive.sum(1)", "* positive).sum(1)", "retrieval"),
    Mutant(
        "any partner: the others",
        "crossmodal/retrieval.py",
        "masked_fill(~positive, -torch.inf).logsumexp",
        "masked_fill(positive, -torch.inf).logsumexp",
        "retrieval",
    ),
    Mutant("captions: padding is read", "crossmodal/retrieval.py", "(tokens > Tokenizer.end)", "(tokens >= 0)", "retrieval"),
    Mutant(
        "batches: a recording of any digit",
        "crossmodal/retrieval.py",
        "rows_of_same_label(cards.facts[:, 0], self.labels, generator)",
        "torch.randint(len(self.labels), (self.batch_size,), generator=generator)",
        "retrieval",
    ),
    Mutant(
        "the space hears recordings in one place only",
        "crossmodal/retrieval.py",
        'spoil(vary(batch["samples"], batch["length"], generator), generator)',
        'vary(batch["samples"], batch["length"], generator)',
        "retrieval",
    ),
    Mutant(
        "a borrowed ear: its averages are learned anew",
        "crossmodal/retrieval.py",
        "mode and all(weight.requires_grad for weight in trunk.parameters())",
        "mode",
        "retrieval",
    ),
    Mutant("validation: takes are trained on too", "crossmodal/retrieval.py", "sounds.takes >= 10", "sounds.takes >= 5", "retrieval"),
    Mutant("users: taste divides", "crossmodal/retrieval.py", "torch.exp(taste * met)", "torch.exp(-taste * met)", "retrieval"),
    Mutant(
        "users: the next item may be an old one",
        "crossmodal/retrieval.py",
        "    weight = weight.scatter(1, history, 0.0)\n",
        "",
        "retrieval",
    ),
    Mutant(
        "recommendation: old items are offered",
        "crossmodal/retrieval.py",
        "scores.double().scatter(1, users.history, -torch.inf)",
        "scores.double()",
        "retrieval",
    ),
    Mutant(
        "gain: discounts from the second place", "crossmodal/retrieval.py", "torch.arange(2, k + 2,", "torch.arange(3, k + 3,", "retrieval"
    ),
    Mutant(
        "cells: the farthest first",
        "crossmodal/retrieval.py",
        "self.centres, query, alpha=-2)",
        "self.centres, query, alpha=2)",
        "retrieval",
    ),
    Mutant(
        "product codes: a part's table for another",
        "crossmodal/retrieval.py",
        "return table.gather(1,",
        "return table.flip(0).gather(1,",
        "retrieval",
    ),
    # ---- probability
    Mutant("KL: the other variance", "probability.py", "_like(mean1, -logvar2)", "_like(mean1, -logvar1)", "probability"),
    Mutant("sampling: variance for deviation", "probability.py", "(0.5 * logvar).exp() * noise", "logvar.exp() * noise", "probability"),
    # ---- measuring
    Mutant("covariance: divided by n", "metrics.py", "torch.cov(x.T)", "torch.cov(x.T, correction=0)", "metrics"),
    Mutant("KID: keeps the diagonal", "metrics.py", "(_kernel_sum(x, x, chunk) - diagonal)", "_kernel_sum(x, x, chunk)", "metrics"),
    Mutant("precision and recall: neighbour off by one", "metrics.py", "kthvalue(k + 1,", "kthvalue(k,", "metrics"),
    Mutant("PSNR: range of 1", "metrics.py", "torch.log10(4 / mse)", "torch.log10(1 / mse)", "metrics"),
    Mutant("evaluation: one noise for all replicates", "metrics.py", "manual_seed(seed + r)", "manual_seed(seed)", "metrics"),
    Mutant("floor: not disjoint", "metrics.py", "_without(everything, sample))", "everything)", "metrics"),
    # ---- training
    Mutant(
        "weight average: before the step",
        "training.py",
        "    t.optimizer.step()\n    for module, its_average in t.hooks:\n        module.after_step(t.optimizer, its_average)\n",
        "    if t.average is not t.task.model:\n"
        "        ema_update(averaged, (parameters, buffers), ema_weight(t.step, t.recipe.ema_decay))\n"
        "    t.optimizer.step()\n    for module, its_average in t.hooks:\n        module.after_step(t.optimizer, its_average)\n"
        "    return record(t, loss, norm, logs)\n",
        "unit/training",
    ),
    Mutant(
        "weight average: the last eleventh",
        "training.py",
        "1 - decay, 9 / (step + 9)",
        "1 - decay, 10 / (step + 10)",
        "unit/training",
        harmless="how much of a run's beginning is forgotten is a choice: the average still begins at the first model and ends at 1 - decay",
    ),
    Mutant("warm-up: off by one", "training.py", "(step + 1) / max(recipe.warmup, 1)", "step / max(recipe.warmup, 1)", "unit/training"),
    Mutant("two processes: one seed", "training.py", "recipe.seed + 1000 * accelerator.process_index", "recipe.seed", "unit/processes"),
    Mutant("two processes: buffers not shared", "training.py", "torch.distributed.broadcast(buffer, 0)", "pass", "unit/processes"),
    # ---- networks
    Mutant("timestep embedding: frequencies over d/2 - 1", "diffusion/unet.py", "/ (dim // 2))", "/ (dim // 2 - 1))", "unet unit/planted"),
    Mutant(
        "U-Net: labels dropped in eval mode",
        "diffusion/unet.py",
        "if self.training and self.label_dropout:",
        "if self.label_dropout:",
        "unet",
    ),
    Mutant("attention: no root", "transformer.py", " / q.shape[-1] ** 0.5", "", "transformer"),
    Mutant("causal mask: from the top left", "transformer.py", ".tril(keys - queries)", ".tril()", "transformer"),
    Mutant(
        "cache: positions begin again",
        "transformer.py",
        "torch.arange(start, start + tokens.shape[1],",
        "torch.arange(tokens.shape[1],",
        "transformer",
    ),
    # ---- captions of pictures
    Mutant(
        "confidence: of the surest piece",
        "crossmodal/caption.py",
        "by_piece = [min(float(verdict[digit])",
        "by_piece = [max(float(verdict[digit])",
        "pictures",
    ),
    Mutant(
        "confidence: no root",
        "crossmodal/caption.py",
        "return math.sqrt(min(chances) * max(by_piece))",
        "return min(chances) * max(by_piece)",
        "pictures",
    ),
    Mutant(
        "ink: not relative to the paper",
        "crossmodal/caption.py",
        "ink = 1 - levels / np.maximum(paper, 0.02)",
        "ink = paper - levels",
        "pictures",
    ),
    Mutant(
        "exchange: all the others",
        "crossmodal/caption.py",
        "generator=generator, device=tokens.device) < probability",
        "generator=generator, device=tokens.device) > probability",
        "pictures",
    ),
    Mutant("never said: what was said", "crossmodal/caption.py", "& is_digit & ~said", "& is_digit & said", "pictures"),
    # ---- the task that trains the shipped generators
    Mutant(
        "diffusion task: never the last step",
        "diffusion/parameterization.py",
        "torch.randint(steps, (batch,)",
        "torch.randint(steps - 1, (batch,)",
        "unit/planted unit/process",
    ),
    Mutant(
        "diffusion task: one step for the whole batch",
        "process.py",
        "draw_times(len(x_start), generator=generator, device=x_start.device)",
        "draw_times(1, generator=generator, device=x_start.device).expand(len(x_start))",
        "unit/planted unit/process",
    ),
    # ---- sound and films
    Mutant("high-pass: what it takes off", "crossmodal/audio.py", "return samples - low[", "return low[", "audio"),
    Mutant(
        "high-pass: delayed",
        "crossmodal/audio.py",
        "low[..., TAPS // 2 : TAPS // 2 + samples.shape[-1]]",
        "low[..., : samples.shape[-1]]",
        "audio",
    ),
    Mutant("one second: the end of its energy in the middle", "crossmodal/audio.py", "heard[:, -1:] / 2)", "heard[:, -1:])", "audio"),
    Mutant(
        "heard: whether it is a digit forgotten",
        "crossmodal/audio.py",
        "confidence = share * doubt.sigmoid()",
        "confidence = share",
        "audio",
    ),
    Mutant("no digits: a splice of one word", "crossmodal/audio.py", "torch.where(late, b, a)", "torch.where(late, a, a)", "audio"),
    Mutant("segments: the quiet counts", "crossmodal/audio.py", "ticks.max() / 400", "ticks.max() / 4e8", "audio"),
    Mutant("kept ink: only what stays", "crossmodal/video.py", "video.cummax(1).values", "video.flip(1).cummin(1).values.flip(1)", "video"),
    Mutant(
        "heard without the curve: means of decibels",
        "crossmodal/video.py",
        "power.unflatten(1, (BANDS, -1)).sum(2)",
        "power.unflatten(1, (BANDS, -1)).amax(2)",
        "video",
    ),
    Mutant("fusion: the prior not divided out", "crossmodal/fusion.py", "(len(log_p) - 1) * log_prior", "0 * log_prior", "fusion"),
    Mutant(
        "fusion: the prior divided out once too often",
        "crossmodal/fusion.py",
        "(len(log_p) - 1) * log_prior",
        "len(log_p) * log_prior",
        "fusion",
    ),
    Mutant("fusion: decibels of amplitudes", "crossmodal/fusion.py", "10 ** (-snr[:, None] / 20)", "10 ** (-snr[:, None] / 10)", "fusion"),
    Mutant(
        "fusion: variance for deviation",
        "crossmodal/fusion.py",
        "sigma[:, None, None, None] * noise_like",
        "sigma[:, None, None, None].sqrt() * noise_like",
        "fusion",
    ),
    Mutant(
        "fusion: the voice is not listened to",
        "crossmodal/fusion.py",
        "torch.cat([seen, heard], -1)",
        "torch.cat([seen, 0 * heard], -1)",
        "fusion",
    ),
    Mutant(
        "fusion: every answer is trained",
        "crossmodal/fusion.py",
        "for name in self.answers}\n        return",
        "for name in said}\n        return",
        "fusion",
    ),
    Mutant(
        "fusion: pairs of any two digits",
        "crossmodal/fusion.py",
        "rows_of_same_label(self.labels[picture], self.said",
        "rows_of_same_label(0 * self.labels[picture], self.said",
        "fusion",
    ),
    Mutant(
        "fusion: validation takes are trained on",
        "crossmodal/fusion.py",
        '~late if split == "train" else late',
        'late | ~late if split == "train" else late',
        "fusion",
    ),
    Mutant("fusion: temperature multiplied", "crossmodal/fusion.py", "F.nll_loss((log_p / t)", "F.nll_loss((log_p * t)", "fusion"),
    Mutant(
        "fusion: over- and underconfidence cancel",
        "crossmodal/fusion.py",
        "(right.sum() - sure.sum()).abs().item()",
        "(right.sum() - sure.sum()).item()",
        "fusion",
    ),
    Mutant("fusion: an interval from single pairs", "crossmodal/fusion.py", "math.sqrt(number)", "math.sqrt(len(groups))", "fusion"),
    Mutant(
        "fusion: the first token asked for is given",
        "crossmodal/fusion.py",
        "torch.arange(n, device=device) <= given",
        "torch.arange(n, device=device) <= given + 1",
        "fusion",
    ),
    Mutant("fusion: padding counts", "crossmodal/fusion.py", "nats[words > 0]", "nats[words >= 0]", "fusion"),
    Mutant(
        "fusion: always the likeliest", "crossmodal/fusion.py", "[:, :, 0], temperature, generator)", "[:, :, 0], 0.0, generator)", "fusion"
    ),
    Mutant("overlap-add: windows without squares", "crossmodal/speech_codec.py", "fade.square().expand(", "fade.expand(", "speech_codec"),
    Mutant(
        "overlap-add: frames without the window",
        "crossmodal/speech_codec.py",
        "n=window, dim=1) * fade",
        "n=window, dim=1)",
        "speech_codec",
    ),
    Mutant("SI-SDR: against the whole", "crossmodal/speech_codec.py", "(sound - wanted).square()", "sound.square()", "speech_codec"),
    Mutant("SI-SDR: loudness counts", "crossmodal/speech_codec.py", "wanted = share * target", "wanted = target", "speech_codec"),
    Mutant("rate: nats for bits", "crossmodal/speech_codec.py", "math.log2(self.quantizer", "math.log(self.quantizer", "speech_codec"),
    Mutant(
        "loudness: of the padded row",
        "crossmodal/speech_codec.py",
        "(1) / lengths).sqrt()",
        "(1) / samples.shape[1]).sqrt()",
        "speech_codec",
    ),
    Mutant(
        "log-mel distance: silence counts", "crossmodal/speech_codec.py", "(apart * heard(frames, apart.shape[1]))", "apart", "speech_codec"
    ),
    Mutant(
        "message: levels share their numbers",
        "crossmodal/speech_codec.py",
        "codes + num_embeddings * torch.arange",
        "codes + 0 * torch.arange",
        "speech_codec",
    ),
    Mutant("message: the end is forgotten", "crossmodal/speech_codec.py", ".all(2).long().cumprod(1)", ".all(2).long()", "speech_codec"),
    Mutant(
        "speaker: digit and voice swapped",
        "crossmodal/speech_codec.py",
        "sample(10 * voices + labels",
        "sample(voices + 10 * labels",
        "speech_codec",
    ),
]


# ---------------------------------------------------------------- planting


def occurrences(mutant: Mutant, root: Path = ROOT) -> int:
    """How often the old text stands in its module; 0 if there is no such module."""
    path = root / "vqdiff_edu" / mutant.module
    return path.read_text().count(mutant.old) if path.exists() else 0


def fault(mutant: Mutant, root: Path = ROOT) -> str | None:
    """Why the mutant cannot be planted, or None."""
    if not (root / "vqdiff_edu" / mutant.module).exists():
        return f"there is no vqdiff_edu/{mutant.module}"
    if (count := occurrences(mutant, root)) != 1:
        return f"{mutant.old!r} is {count} times in vqdiff_edu/{mutant.module}, not once"
    return None if test_files(mutant, root) else f"there is no test file for {mutant.tests!r}"


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """The text of the module with the bug."""
    return (root / "vqdiff_edu" / mutant.module).read_text().replace(mutant.old, mutant.new)


def test_files(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """The test files that should see the bug."""
    paths = []
    for name in mutant.tests.split():
        kinds, _, stem = name.rpartition("/")
        paths += [f"tests/{kind}/test_{stem}.py" for kind in ([kinds] if kinds else ["unit", "property"])]
    return [path for path in paths if (root / path).exists()]


def notebook_of(mutant: Mutant, root: Path = ROOT) -> Path:
    """The notebook that exports the module, as its first lines say."""
    path = root / "vqdiff_edu" / mutant.module
    named = re.search(r"File to edit: (\S+\.ipynb)", path.read_text())[1]
    return (path.parent / named).resolve()


def copy_tree(folder: Path) -> Path:
    """The working tree without what is not source."""
    skip = shutil.ignore_patterns(
        ".venv", ".git", "_docs", "_proc", "__pycache__", ".pytest_cache", ".hypothesis", ".ruff_cache", "*.egg-info"
    )
    return Path(shutil.copytree(ROOT, folder / "tree", ignore=skip, symlinks=True))


def environment(tree: Path) -> dict[str, str]:
    """One thread, the smoke profile, the copy's package, the same random examples each time, no bytecode that could be stale."""
    env = {name: value for name, value in os.environ.items() if name not in ("IN_TEST", "JAXTYPING_DISABLE")}
    data = {"VQDIFF_DATA": str(Path(env["VQDIFF_DATA"]).expanduser().resolve())} if env.get("VQDIFF_DATA") else {}
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    return env | data | one | {"VQDIFF_PROFILE": "smoke", "PYTHONPATH": str(tree), "CI": "1", "JUPYTER_PREFER_ENV_PATH": "1"}


# ---------------------------------------------------------------- against the tests


class Verdict(NamedTuple):
    """What became of a mutant: `outcome` is one word, `said` the test or the reason."""

    mutant: Mutant
    outcome: str
    said: str
    seconds: float


def pytest(files: Iterable[str], tree: Path) -> tuple[int | None, str]:
    """Exit status of the tests (None: they hang) and what they said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb", "line", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(command, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=60 * MINUTES)
    except subprocess.TimeoutExpired:
        return None, f"still running after {MINUTES} minutes"
    return done.returncode, done.stdout + done.stderr


def against_tests(mutant: Mutant, tree: Path) -> tuple[str, str]:
    """ "killed" and by which test, "survived", or "ERROR" if the tests could not run."""
    status, said = pytest(test_files(mutant, tree), tree)
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    if status == 0:
        return "survived", mutant.harmless or "nothing fails"
    if status is None:
        return "killed", said
    return ("killed", failed[1]) if status == 1 and failed else ("ERROR", said.strip().splitlines()[-1])


def unmutated(mutants: list[Mutant], tree: Path) -> str | None:
    """Why the named tests say nothing: they fail without any bug."""
    status, said = pytest(sorted({path for mutant in mutants for path in test_files(mutant, tree)}), tree)
    return None if status == 0 else said


# ---------------------------------------------------------------- against the chapters


CHAPTER = """
import json, re, sys, nbformat
from pathlib import Path
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
path = Path(sys.argv[1])
notebook = nbformat.read(path, 4)
client = NotebookClient(notebook, kernel_name="python3", timeout=None, resources={"metadata": {"path": str(path.parent)}})
skipped = re.compile(r"^#[|]\\s*(eval:\\s*false|slow)", re.M | re.I)
with client.setup_kernel():
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and skipped.search(cell.source):
            continue
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as error:
            print(json.dumps({"cell": index, "kind": error.ename, "message": error.evalue}))
            break
"""


def run_chapter(path: Path, tree: Path) -> dict:
    """Where a notebook stops, in the smoke profile: {"cell", "kind", "message"}, or {} if it runs through."""
    done = subprocess.run(
        [sys.executable, "-c", CHAPTER, str(path)],
        cwd=path.parent,
        env=environment(tree),
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
    )
    if done.returncode:
        raise RuntimeError(f"{path.name} could not be run: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}


def plant_in_notebook(mutant: Mutant, path: Path) -> int:
    """Replace the old text in the cells that export; how often it was there."""
    notebook, count = json.loads(path.read_text()), 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.search(r"^#\|\s*exports?\b", source, re.MULTILINE):
            count += source.count(mutant.old)
            cell["source"] = source.replace(mutant.old, mutant.new)
    path.write_text(json.dumps(notebook))
    return count


def against_chapter(mutant: Mutant, tree: Path) -> tuple[str, str]:
    """ "seen" if a `verify` fails, "stopped" if something else does, "unseen" if the chapter runs through."""
    path = notebook_of(mutant, tree)
    before = path.read_text()
    try:
        if plant_in_notebook(mutant, path) != 1:
            return "ERROR", f"{mutant.old!r} is not once in the exporting cells of {path.name}"
        stop = run_chapter(path, tree)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return "ERROR", f"{path.stem}: {error}"
    finally:
        path.write_text(before)
    if not stop:
        return "unseen", path.stem
    by_verify = stop["kind"] == "AssertionError" and re.match(r"eq-[\w-]+:", stop["message"])
    return "seen" if by_verify else "stopped", f"{path.stem}: {stop['kind']}: {stop['message']}".splitlines()[0]


def stopping_chapters(mutants: list[Mutant], tree: Path) -> str | None:
    """Why the chapters say nothing: one does not run through without any bug."""
    for path in sorted({notebook_of(mutant, tree) for mutant in mutants}):
        if stop := run_chapter(path, tree):
            return f"{path.name} stops without any bug, in cell {stop['cell']}: {stop['kind']}: {stop['message']}"
    return None


# ---------------------------------------------------------------- all of them


def judge(mutant: Mutant, tree: Path, chapters: bool) -> Verdict:
    """Plant the mutant in the copy, look, and take it out again."""
    started, path = time.monotonic(), tree / "vqdiff_edu" / mutant.module
    if why := fault(mutant, tree):
        return Verdict(mutant, "ERROR", why, 0.0)
    before = path.read_text()
    try:
        path.write_text(mutated(mutant, tree))
        outcome, said = (against_chapter if chapters else against_tests)(mutant, tree)
    finally:
        path.write_text(before)
    return Verdict(mutant, outcome, said, time.monotonic() - started)


def judge_all(mutants: list[Mutant], jobs: int, chapters: bool, folder: Path) -> list[Verdict]:
    """Every mutant, `jobs` at a time, each job in a copy of its own."""
    trees = SimpleQueue()
    for job in range(jobs):
        (folder / str(job)).mkdir()
        trees.put(copy_tree(folder / str(job)))
    first = trees.get()
    if why := (stopping_chapters if chapters else unmutated)([m for m in mutants if not fault(m, first)], first):
        sys.exit(f"mutants: this fails before any bug is planted:\n{why}")
    trees.put(first)

    def one(mutant: Mutant) -> Verdict:
        tree = trees.get()
        verdict = judge(mutant, tree, chapters)
        trees.put(tree)
        print(line(verdict), flush=True)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, mutants))


def line(v: Verdict) -> str:
    harmless = " (harmless)" if v.outcome == "survived" and v.mutant.harmless else ""
    return f"{v.outcome + harmless:<9} {v.seconds:5.0f} s  {v.mutant.name:<48} {v.said}"


def chapter_number(v: Verdict) -> int:
    """The number in front of the notebook's name."""
    return int(re.match(r"\d+", notebook_of(v.mutant).name)[0]) if (ROOT / "vqdiff_edu" / v.mutant.module).exists() else -1


def summary(verdicts: list[Verdict], chapters: bool) -> list[str]:
    """Counts, and for chapters how many each one sees."""
    count = {word: sum(v.outcome == word for v in verdicts) for word in dict.fromkeys(v.outcome for v in verdicts)}
    lines = ["", f"{len(verdicts)} bugs: " + ", ".join(f"{number} {word}" for word, number in count.items())]
    if not chapters:
        return lines
    for number in sorted({chapter_number(v) for v in verdicts}):
        mine = [v for v in verdicts if chapter_number(v) == number]
        lines.append(f"chapter {number:02}: its own verify sees {sum(v.outcome == 'seen' for v in mine)} of {len(mine)}")
    centre = [v for v in verdicts if chapter_number(v) in CENTRE]
    seen = sum(v.outcome == "seen" for v in centre)
    return [*lines, *([f"chapters {CENTRE[0]} to {CENTRE[-1]}: {seen} of {len(centre)} seen ({seen / len(centre):.0%})"] if centre else [])]


def bad(verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts that must not be."""
    return [v for v in verdicts if v.outcome == "ERROR" or (v.outcome == "survived" and not v.mutant.harmless)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only bugs whose name or module contains this")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once (one thread each)")
    parser.add_argument("--chapters", action="store_true", help="look whether the chapter's own verify cells see the bug")
    parser.add_argument("--list", action="store_true", help="print the bugs and whether they can be planted")
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if given.only in m.name or given.only in m.module]
    if not chosen:
        sys.exit(f"mutants: no bug is called {given.only!r}; --list names them")
    if given.list:
        print("\n".join(f"{m.module:<36} {m.name:<48} {fault(m) or ''}" for m in chosen))
        sys.exit(any(map(fault, chosen)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        verdicts = judge_all(chosen, given.jobs, given.chapters, Path(folder))
    print("\n".join(summary(verdicts, given.chapters)))
    for verdict in (wrong := bad(verdicts)):
        print(line(verdict))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
