r"""Which cohorts, epsilons and networks ``feasibility.py`` measures, and how each trains.

Recipes were chosen on seed 0 of the phantoms, which is not reported: few large private
steps for small cohorts, more and smaller ones from 300 patients a site on; the arms without
privacy need other steps and got them. Starting weights come from phantoms; first, once:

    fedrad-sim pretrain --task simulations/scenarios/pneumonia.task.toml --phantoms 1000 \
        --seed 100 --out runs/weights/pneumonia-resnet.safetensors --set rate=0.002 \
        --set epochs=20 --set 'model={name="resnet18", parameters={widen_factor=0.125}}'
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feasibility_data import phantoms, public

from fedrad.task import Task
from simulations.scenario import read_scenario
from site_client.training.source import PatientSource


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one arm trains; ``share`` of the patients are expected in a step."""

    rounds: int
    steps: int
    share: float
    optimiser: str  # name
    rate: float

    def __str__(self) -> str:
        share = f"{100 * self.share:g} % of the patients"
        steps = "step" if self.steps == 1 else "steps"
        how = f"{self.optimiser} {self.rate:g}"
        return f"{self.rounds} rounds × {self.steps} {steps} of {share}, {how}"

    def settings(self, patients: float) -> tuple[str, ...]:
        """Return the recipe as ``key=value`` for a cohort."""
        return (
            f"federation.rounds={self.rounds}",
            f"evaluation.every_rounds={self.rounds}",
            "federation.spare_rounds=0",
            f"training.steps={self.steps}",
            f"training.expected_batch_patients={self.share * patients}",
            f'training.optimiser={{name="{self.optimiser}",rate={self.rate}}}',
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One part of the table: data, network, recipes, and which cells are measured."""

    name: str
    what: str
    scenario: str
    settings: tuple[str, ...] = ()
    folder: str = ""  # of public images, below --data
    private: dict[int, Recipe]  # from so many patients a site on
    plain: Recipe
    patients: tuple[int, ...]
    epsilons: tuple[float, ...]
    uneven: tuple[tuple[int, ...], ...] = ()  # cohorts of unequal size
    test: int  # test patients a site

    def task(self, recipe: Recipe, patients: float, *, epsilon: float) -> Task:
        """Return the task of one cell; epsilon 0: without privacy."""
        private = (f"privacy.epsilon={epsilon}",) if epsilon else ("privacy.enabled=false",)
        settings = (*self.settings, *recipe.settings(patients), *private)
        return read_scenario(self.scenario, settings)[1]

    def grid(self) -> Iterator[tuple[int, float]]:
        """Yield the cohort and epsilon of every cell."""
        yield from itertools.product(self.patients, self.epsilons)

    def recipe(self, patients: float) -> Recipe:
        """Return how cohorts of this size train privately."""
        return self.private[max(least for least in self.private if least <= patients)]

    def sources(self, seed: int, data: Path | None) -> dict[str, PatientSource]:
        """Return every site's patients, test patients first."""
        task = self.task(self.plain, 100, epsilon=0.0)
        if not self.folder:
            most = max([*self.patients, *(n for sizes in self.uneven for n in sizes)])
            return phantoms(task, seed, most + self.test)
        spec = read_scenario(self.scenario, self.settings)[0].public
        if data is None or spec is None:
            raise SystemExit(f"{self.name} needs --data FOLDER with {self.folder}/manifest.csv")
        return public(task, seed, data / self.folder, spec)


FEW = Recipe(rounds=60, steps=1, share=0.5, optimiser="sgd", rate=0.5)
MANY = Recipe(rounds=60, steps=3, share=0.2, optimiser="sgd", rate=0.5)
CLASSIFIER = {0: FEW, 300: MANY}
CLASSIFIER_PLAIN = Recipe(rounds=20, steps=10, share=0.25, optimiser="adam", rate=0.01)
PIXELS = {0: Recipe(rounds=40, steps=1, share=1.0, optimiser="sgd", rate=1.0)}
PIXELS_PLAIN = Recipe(rounds=20, steps=10, share=0.1, optimiser="adam", rate=0.01)
RESNET = ('model.name="resnet18"', "model.parameters={widen_factor=0.125}")
WEIGHTS = "model.initial=runs/weights/pneumonia-resnet.safetensors"
RESNET_PLAIN = Recipe(rounds=20, steps=10, share=0.1, optimiser="adam", rate=0.002)
TRIALS = (
    Trial(
        name="phantom-nodules",
        what="phantom radiographs, a nodule or none",
        scenario="four_hospitals",
        private=CLASSIFIER,
        plain=CLASSIFIER_PLAIN,
        patients=(50, 150, 250, 400, 1000),
        epsilons=(1.0, 2.0, 4.0, 8.0),
        uneven=((50, 150, 400), (150, 400, 1000)),
        test=400,
    ),
    Trial(
        name="pneumonia",
        what="public radiographs of one publisher, pneumonia or none",
        scenario="pneumonia",
        folder="cxr_multisite",
        private=CLASSIFIER,
        plain=CLASSIFIER_PLAIN,
        patients=(50, 100, 150),
        epsilons=(1.0, 2.0, 4.0, 8.0),
        test=75,
    ),
    Trial(
        name="phantom-lesions",
        what="phantom radiographs, outlines of lesions",
        scenario="lungs_private",
        settings=("labels.map={lesion=1}", "federation.weight_cap=0.5"),
        private=PIXELS,
        plain=PIXELS_PLAIN,
        patients=(150, 400),
        epsilons=(2.0, 8.0),
        test=150,
    ),
    Trial(
        name="pneumonia-resnet",
        what="public radiographs of one publisher, pneumonia or none",
        scenario="pneumonia",
        settings=RESNET,
        folder="cxr_multisite",
        private={0: FEW},
        plain=RESNET_PLAIN,
        patients=(50, 150),
        epsilons=(8.0,),
        test=75,
    ),
    Trial(
        name="pneumonia-resnet-start",
        what="public radiographs of one publisher, pneumonia or none",
        scenario="pneumonia",
        settings=(*RESNET, WEIGHTS),
        folder="cxr_multisite",
        private={0: FEW},
        plain=RESNET_PLAIN,
        patients=(50, 150),
        epsilons=(2.0, 8.0),
        test=75,
    ),
    Trial(
        name="pneumonia-resnet-frozen",
        what="public radiographs of one publisher, pneumonia or none",
        scenario="pneumonia",
        settings=(*RESNET, WEIGHTS, "model.trained=norm+last"),
        folder="cxr_multisite",
        private={0: FEW},
        plain=RESNET_PLAIN,
        patients=(50, 150),
        epsilons=(2.0, 8.0),
        test=75,
    ),
)
