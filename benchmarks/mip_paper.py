"""The pixel-masking experiment of Ikeno and Hara 2018, with all its comparators and more.

    OMP_NUM_THREADS=1 python benchmarks/mip_paper.py --model resnet20 --limit 20 [--out DIR]
    OMP_NUM_THREADS=1 python benchmarks/mip_paper.py --model squeezenet --limit 20 --fill black

The paper masks COCO animals for VGG16; here it is ImageNet's animals for SqueezeNet or MobileNet,
CIFAR-10's test images for ResNet-20, and scikit-learn's digits for a small network, which takes a
minute. All but the digits are read from the folder that XAI_ADAPTERS_DATA names. Every comparator
of the paper that has a baseline also stands in the form whose baseline is the mask's colour; RISE
and the learned mask are made for this very metric; the greedy search and chance are its ends.

DIR gets what `xai-adapters benchmark` writes (curves with bootstrap bands, every row's flags, the
report) and `figures.png`: for some images the heat maps of each explainer and, below, the image
without the pixels in the lowest 80 % of the scores, as in the paper's figures 2 to 4. A run that
was interrupted goes on with `--resume`. Printed are each explainer's area under the masking curve
and its share of changed decisions at half of the pixels, and what was aimed at and what was found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from xai_adapters import InvariantBox
from xai_adapters.benchmark import Task, load_task, run_benchmark
from xai_adapters.benchmark.metrics import relevance_ranks
from xai_adapters.benchmark.report import DIVERGING, SEQUENTIAL, color_indices, palette
from xai_adapters.benchmark.results import Gallery, Measurement, Results
from xai_adapters.benchmark.tasks import CifarResNet, MobileNet, data_file, imagenet_animals
from xai_adapters.registry import ExplainerEntry, FunctionExplainer, Subject, explainer_names

# The paper's ten, with the settings it gives; then those whose baseline is the mask's colour.
PAPERS = (
    "saliency", "guided_backprop", "smooth_grad", "integrated_gradients", "lrp", "deep_lift",
    "occlusion", "linear_program", "linear_program_smooth",
)  # fmt: skip
MATCHED = ("integrated_gradients_mask", "deep_lift_mask", "occlusion_mask", "rise", "learned_mask")
OURS = ("invariant_box", "directed_box")
REFERENCE_EXPLAINERS = ("greedy", "random")
FILLS = {"gray": 0.5, "black": 0.0, "white": 1.0}
CIFAR_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
KEPT, RED = 0.2, (255, 0, 0)


def as_published(subject: Subject) -> FunctionExplainer:
    """The box with the settings of the authors' code, and no range."""
    network = subject.network()
    solver = InvariantBox(
        sampling="uniform", optimizer="adam", step_size=1e-2, schedule="constant", n_steps=500,
        n_draws=32, tolerance=0, n_check_draws=8, seed=subject.seed,
    )  # fmt: skip
    return FunctionExplainer(lambda rows, target: solver.solve(network, rows, target).scores())


AS_PUBLISHED = ExplainerEntry(
    "box_as_published", "Maximal invariant perturbation with the authors' settings", as_published,
    block_size=1,
)  # fmt: skip


def cifar_images(relative: str) -> Tensor:
    """Images (n, 3, 32, 32) in [0, 1]."""
    data = np.load(data_file(relative), allow_pickle=False)
    return torch.from_numpy(data["images"]).permute(0, 3, 1, 2).float() / 255


def mobilenet() -> Task:
    """The photographs of the task of SqueezeNet, in its order, for MobileNet."""
    squeezenet = load_task("imagenet-animals", limit=80)
    path = data_file("models/mobilenet_v1_075_imagenet.safetensors")
    return replace(
        squeezenet,
        name="imagenet-animals-mobilenet",
        description="100 ImageNet photographs of animals and MobileNet v1 of width 0.75",
        model=MobileNet.pretrained(path),
        class_names=imagenet_animals().class_names,
        facts={},
    )


def resnet20() -> Task:
    """CIFAR-10's first thousand test images for ResNet-20."""
    return Task(
        "cifar10",
        "CIFAR-10 and ResNet-20",
        "image",
        CifarResNet.pretrained(data_file("models/resnet20_cifar10.safetensors")),
        rows=cifar_images("cifar10/test_first1000.npz"),
        background=cifar_images("cifar10/train_first2000.npz")[:200],
        class_names=CIFAR_CLASSES,
    )


MODELS: dict[str, Callable[[], Task]] = {
    "squeezenet": lambda: load_task("imagenet-animals", limit=80),
    "mobilenet": mobilenet,
    "resnet20": resnet20,
    "digits": lambda: load_task("digits", limit=360),
}


def measured(results: Results, metric: str) -> dict[str, Measurement]:
    """One metric of every explainer that was measured."""
    return {m.explainer: m for m in results.measurements if m.metric == metric}


def table(results: Results, area: str, at_half: str) -> Table:
    """The explainers from the lowest area to the highest."""
    shown = Table(
        Column("explainer", no_wrap=True),
        "baseline",
        "area",
        "95 %",
        "changed at 50 %",
        "s/row",
        "images",
    )
    half, runs = measured(results, at_half), {run.name: run for run in results.explainers}
    for name, found in sorted(measured(results, area).items(), key=lambda item: item[1].value):
        run = runs[name]
        shown.add_row(
            name,
            run.baseline,
            f"{found.value:.4f}",
            f"{found.low:.4f} to {found.high:.4f}",
            f"{half[name].value:.1%}",
            f"{run.seconds_per_row or 0:.2f}",
            str(found.n),
        )
    for run in results.explainers:
        if run.status != "ok":
            shown.add_row(run.name, run.baseline, run.status, run.reason[:60], "", "", "")
    return shown


def aims(model: str, results: Results, area: str, at_half: str) -> list[tuple[str, bool]]:
    """What was aimed at for a model, with what was found, and whether it was reached."""
    areas, half = measured(results, area), measured(results, at_half)
    found = []
    papers = [(areas[name].value, name) for name in PAPERS if name in areas]
    matched = [(areas[name].value, name) for name in MATCHED if name in areas]
    if model == "squeezenet" and "invariant_box" in areas:
        changed = half["invariant_box"].value
        found.append((f"the box changes at most 5 % at half: {changed:.1%}", changed <= 0.05))
        if papers:
            ours, best = areas["invariant_box"].value, min(papers)
            found.append((f"its area {ours:.4f} is below the paper's {best[1]} {best[0]:.4f}",
                          ours < best[0]))  # fmt: skip
    if papers and "directed_box" in areas:
        ours, best = areas["directed_box"], min(papers + matched)
        found.append((f"the directed box's area {ours.value:.4f} ({ours.low:.4f} to "
                      f"{ours.high:.4f}) is below, or ties with, {best[1]} {best[0]:.4f}",
                      ours.low <= best[0]))  # fmt: skip
        if model == "digits" and "greedy" in areas:
            bound = 1.3 * areas["greedy"].value
            found.append((f"and at most 1.3 times the greedy search's, {bound:.4f}",
                          ours.value <= bound))  # fmt: skip
    return found


def figure(gallery: Gallery, n_images: int = 3, height: int = 112) -> Image.Image:
    """Images beside the heat map of each explainer and what its highest fifth leaves of them."""
    n_images = min(n_images, len(gallery.rows))
    names = ["", *gallery.maps]
    sheet = Image.new("RGB", (len(names) * (height + 4), n_images * (2 * height + 24)), "white")
    pen = ImageDraw.Draw(sheet)

    def paste(pixels: np.ndarray, column: int, row: int, lower: bool) -> None:
        small = Image.fromarray(pixels).resize((height, height), Image.Resampling.NEAREST)
        at = row * (2 * height + 24) + 14 + lower * (height + 2)
        sheet.paste(small, (column * (height + 4), at))

    for row, image in enumerate(gallery.rows[:n_images]):
        shown = (image.expand(3, -1, -1).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        pen.text((2, row * (2 * height + 24)), gallery.titles[row][:20], fill="black")
        paste(shown, 0, row, lower=False)
        for column, name in enumerate(names[1:], start=1):
            scores = gallery.maps[name][row]
            signed = gallery.signed[name]
            colors = palette(DIVERGING if signed else SEQUENTIAL)
            paste(colors[color_indices(scores.double().numpy(), signed)], column, row, lower=False)
            ranks = relevance_ranks(scores[None, None], by_magnitude=False)[0].view(scores.shape)
            low = (ranks < (1 - KEPT) * scores.numel()).numpy()
            # The map of a photograph is kept smaller than it is.
            size = shown.shape[1], shown.shape[0]
            hidden = np.asarray(Image.fromarray(low).resize(size, Image.Resampling.NEAREST))
            paste(np.where(hidden[..., None], np.uint8(RED), shown), column, row, lower=True)
            pen.text((column * (height + 4), row * (2 * height + 24)), name[:19], fill="black")
    return sheet


def main() -> int:
    """Run the experiment; 1 where an aim was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="resnet20")
    parser.add_argument("--limit", type=int, default=20, help="images (default 20)")
    parser.add_argument("--fill", choices=(*FILLS, "blur"), default="gray")
    parser.add_argument("--explainers", help="some of them, separated by commas")
    parser.add_argument("--published", action="store_true", help="also the authors' settings")
    parser.add_argument("--time-limit", type=float, default=3600.0, help="seconds an explainer")
    parser.add_argument("--out", type=Path, help="default: xai-results/mip-MODEL-FILL")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    known = explainer_names("attribution")
    names = [name for name in (*OURS, *PAPERS, *MATCHED, *REFERENCE_EXPLAINERS) if name in known]
    if options.explainers:
        names = options.explainers.split(",")
    explainers = [*names, *([AS_PUBLISHED] if options.published else [])]
    # No number masks by blurring: explainers keep to gray, and the blurred curve is a second one.
    blurred = options.fill == "blur"
    task = MODELS[options.model]()
    task = replace(
        task, rows=task.rows[: options.limit], mask_value=FILLS.get(options.fill, FILLS["gray"])
    )
    folder = options.out or Path("xai-results") / f"mip-{options.model}-{options.fill}"
    results = run_benchmark(
        task,
        explainers,
        folder=folder,
        resume=options.resume,
        time_limit=options.time_limit,
        show_progress=sys.stderr.isatty(),
        metrics=("masking",),
        fills=("blur",) if blurred else (),
    )
    suffix = "[blur]" if blurred else ""
    area, at_half = f"masking_area{suffix}", f"changed_50{suffix}"
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(f"{task.description}, {len(task.rows)} images, masked with {options.fill}")
    console.print(table(results, area, at_half))
    if results.gallery is not None and results.gallery.maps:
        figure(results.gallery).save(folder / "figures.png")
    reached = aims(options.model, results, area, at_half)
    for text, is_met in reached:
        console.print(f"{'met   ' if is_met else 'MISSED'} {text}")
    return int(not all(is_met for _, is_met in reached))


if __name__ == "__main__":
    sys.exit(main())
