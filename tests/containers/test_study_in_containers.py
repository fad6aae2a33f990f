"""A whole study in containers as hospitals start them, and what a container may not do.

The programs and options are the ones that hosts get (docker/site, docker/aggregator). The
images hold no file; this test's environment is mounted, read only, so nothing is built.
``test_images`` does the same with the real images.
"""

from __future__ import annotations

from collections.abc import Iterator

import confined
import pytest
from contained import (
    Contained,
    bare_image,
    mounts,
    need_networks,
    need_podman,
    output,
    write_podman_settings,
)
from deployed import need_nginx

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    need_podman()
    need_nginx()
    folder = tmp_path_factory.mktemp("containers")
    with pytest.MonkeyPatch.context() as environment:
        write_podman_settings(folder / "containers.conf")
        environment.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        images = {
            "site": bare_image("site.Dockerfile", "fedrad-site"),
            "aggregator": bare_image("aggregator.Dockerfile", "fedrad-aggregator"),
        }
        contained = Contained(folder, images, mounts())
        try:
            need_networks(images["site"], mounts())
            contained.prepare()
            contained.paperwork("federation.rounds=1", "evaluation.every_rounds=1")
            contained.start()
            yield contained
        finally:
            contained.close()
            output("podman", "rmi", "-f", *images.values())


def test_a_study_runs_from_init_to_its_report(study: Contained) -> None:
    confined.a_study_runs_to_its_report(study)


def test_a_site_can_do_nothing_but_its_work(study: Contained) -> None:
    confined.nothing_is_allowed(study, "east")


def test_the_coordinator_can_do_nothing_but_its_work(study: Contained) -> None:
    confined.nothing_is_allowed(study, "hub")


def test_images_are_mounted_read_only(study: Contained) -> None:
    confined.images_are_read_only(study)


def test_a_site_listens_on_the_loopback_alone(study: Contained) -> None:
    confined.only_the_gateway_listens(study)


def test_a_hospital_reaches_the_coordinator_and_nobody_else(study: Contained) -> None:
    confined.one_way_out(study)


def test_programs_say_that_they_are_well(study: Contained) -> None:
    confined.all_are_well(study)


def test_a_site_that_is_asked_to_end_ends_in_good_order(study: Contained) -> None:
    confined.a_stop_is_orderly(study, "south")
