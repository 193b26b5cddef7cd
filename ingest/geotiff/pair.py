"""Which earlier scene is the prior of which scene, and why has another none?"""

from collections.abc import Sequence

from ingest.acquisition import Acquisition
from ingest.errors import Refusal
from ingest.geotiff.candidates import Candidate, Verdict, is_one_pass, judge, scene_order
from ingest.geotiff.place import LEAST_OVERLAP
from ingest.geotiff.rules import SceneRules, load_scene_rules
from ingest.pairing import Pair, Pairing, interval_in_days, make_pair

#: Below this share of the current covered by its prior, the reader is told.
_MOSTLY = 0.8

#: What the chosen prior is, by the rules.
_RANKS = {
    "most recent": "Most recent earlier scene",
    "oldest": "Oldest scene",
    "one year earlier": "The scene nearest to one year earlier",
}


def pair_scenes(acquisitions: Sequence[Acquisition], rules: SceneRules | None = None) -> Pairing:
    """Pairs of scenes: each with the earlier pass over the same place that the rules choose.

    A prior shows the same place (`ingest.geotiff.place.assign_places` has run), has comparable bands and product,
    belongs to an earlier pass, and fulfils the rules: by default it shares at least half of the smaller valid footprint
    and is the most recent. Where a pass offers several, the one in the same CRS and nearest resolution that covers most
    of the current is taken. Equal files and equal pixels under two dates are duplicates: the earliest stays, the others
    are refused. The order of the input does not matter.

    Args:
        acquisitions: Scenes of any places.
        rules: None for the default ones.
    """
    history = _History(acquisitions, rules)
    pairs: list[Pair] = []
    refusals: list[Refusal] = []
    for index in range(len(history.scenes)):
        found = history.choose(index)
        if isinstance(found, Refusal):
            refusals.append(found)
        else:
            pairs.append(found)
    pairs.sort(key=lambda pair: (pair.subject, scene_order(pair.current)))
    return Pairing(pairs=tuple(pairs), unpaired=tuple(sorted(refusals)))


def explain(acquisitions: Sequence[Acquisition], subject: str, rules: SceneRules | None = None) -> tuple[str, ...]:
    """One line for each scene of a place, and one for each scene beside it, with its verdict.

    Args:
        acquisitions: All scenes of the archive: scenes of other places may share some ground.
        subject: Key of the place.
        rules: None for the default ones.
    """
    history = _History(acquisitions, rules)
    lines: list[str] = []
    for index, scene in enumerate(history.scenes):
        if scene.subject != subject:
            continue
        found = history.choose(index)
        prior = found.prior.name if isinstance(found, Pair) else ""
        code = "paired" if isinstance(found, Pair) else found.code
        lines.append(f"{_describe(scene)}: {code}. {found.reason}")
        for other in history.footprints.near(index):
            candidate = history.judge(other, index)
            verdict = "was taken" if history.scenes[other].name == prior else candidate.describe()
            lines.append(f"  {_describe(history.scenes[other])}: {verdict}.")
    return tuple(lines)


def _describe(scene: Acquisition) -> str:
    when = scene.time.isoformat(sep=" ", timespec="minutes") if scene.time else "no date"
    return f"{scene.name} ({when}, {scene.attributes['platform'] or 'satellite unknown'}, {_kind(scene)})"


class _History:
    """All scenes in order of time, and what is already known of them; `choose` is called for each in turn."""

    def __init__(self, acquisitions: Sequence[Acquisition], rules: SceneRules | None) -> None:
        from ingest.geotiff.footprint import Footprints

        self.rules = rules or load_scene_rules("default")
        self.scenes = tuple(sorted(acquisitions, key=scene_order))
        self.footprints: Footprints = Footprints(self.scenes)
        #: Scenes that are no duplicate.
        self._kept: set[int] = set()
        self._originals = [self._original(index) for index in range(len(self.scenes))]

    def _original(self, index: int) -> int | None:
        """The earliest kept scene with the same picture of the same ground; without one a dated scene is kept."""
        scene = self.scenes[index]
        if scene.time is None:
            return None
        for other in self.footprints.near(index):
            # hashes are empty as long as only headers were read
            hashes = {scene.pixel_sha256, scene.sha256} & {
                self.scenes[other].pixel_sha256,
                self.scenes[other].sha256,
            }
            if hashes - {""} and other in self._kept and self.footprints.overlap(index, other) >= LEAST_OVERLAP:
                return other
        self._kept.add(index)
        return None

    def judge(self, other: int, current: int) -> Candidate:
        """What stands between a scene and being the prior of a current."""
        if self._originals[other] is not None:
            return Candidate(index=other, verdict=Verdict.DUPLICATE)
        return judge(other, current, self.scenes, self.footprints, self.rules)

    def choose(self, index: int) -> Pair | Refusal:
        """The pair of a scene with its prior, or why it has none."""
        current = self.scenes[index]
        if current.time is None:
            return _refuse(current, "DATE_UNKNOWN", "No acquisition date in tags or file name; write one into either.")
        original = self._originals[index]
        if original is not None:
            return _refuse(
                current,
                "DUPLICATE",
                f"The same picture as {self.scenes[original].name} under another name or date; find out which date is "
                "true and remove the other file.",
            )
        if self.rules.too_cloudy(current.attributes.get("cloud_cover", "")):
            return _refuse(
                current,
                "TOO_CLOUDY",
                f"The scene states {float(current.attributes['cloud_cover']):.0f} % of cloud, the rules allow "
                f"{self.rules.cloud_percent:g} %; wait for a clear scene, or change the rules.",
            )
        usable: list[Candidate] = []
        others: list[Candidate] = []
        for other in self._by_preference(index):
            if usable and not is_one_pass(self.scenes[other], self.scenes[usable[0].index]):
                break
            candidate = self.judge(other, index)
            (usable if candidate.verdict is Verdict.COMPARABLE else others).append(candidate)
        if not usable:
            return self._no_prior(current, others)
        covered = {one.index: self.footprints.coverage(index, one.index) for one in usable}
        taken = min(covered, key=lambda other: _distance(self.scenes[other], current, covered[other]))
        return _pair(self.scenes[taken], current, covered[taken], self.rules)

    def _by_preference(self, index: int) -> list[int]:
        """Kept earlier scenes nearby, the pass that the rules prefer first."""
        current = self.scenes[index]
        earlier = [
            (interval_in_days(self.scenes[other].time, current.time), other)  # type: ignore[arg-type]
            for other in self.footprints.near(index)
            if other < index and other in self._kept
        ]
        return [other for days, other in sorted(earlier, key=lambda one: (self.rules.unlikeness(one[0]), -one[1]))]

    def _no_prior(self, current: Acquisition, candidates: Sequence[Candidate]) -> Refusal:
        """The one reason: what came nearest to a prior decides."""
        found = {one.verdict for one in candidates}
        if Verdict.TOO_CLOUDY in found:
            return _refuse(
                current,
                "TOO_CLOUDY",
                "The earlier scenes of this place state more cloud than the rules allow; add a clear one, or change "
                "the rules.",
            )
        if found & {Verdict.OTHER_SEASON, Verdict.OUT_OF_RANGE}:
            return _refuse(
                current,
                "NO_PRIOR",
                "The comparable earlier scenes are nearer or further in time, or of another season, than the rules "
                "allow; add another, or change the rules.",
            )
        if Verdict.LITTLE_OVERLAP in found:
            widest = max(one.overlap for one in candidates if one.verdict is Verdict.LITTLE_OVERLAP)
            return _refuse(
                current,
                "NO_OVERLAP",
                f"Earlier scenes share at most {widest:.0%} of the smaller valid footprint; at least "
                f"{self.rules.least_overlap:.0%} is needed. Add a scene that covers this ground.",
            )
        there = [(one.verdict, self.scenes[one.index]) for one in candidates if one.is_same_place]
        satellites = {
            one.attributes["platform"] or "unknown" for verdict, one in there if verdict is Verdict.OTHER_SENSOR
        }
        if satellites:
            return _refuse(
                current,
                "NO_COMPARABLE_VIEW",
                f"Earlier scenes of this place are of satellites ({', '.join(sorted(satellites))}) that the rules do "
                "not compare with this one's; add an earlier scene of its like, or change the rules.",
            )
        kinds = {_kind(one) for verdict, one in there if verdict is Verdict.OTHER_BANDS}
        if kinds:
            return _refuse(
                current,
                "NO_COMPARABLE_VIEW",
                f"Earlier scenes of this place have other bands or another product ({', '.join(sorted(kinds))}) than "
                f"this one ({_kind(current)}); add an earlier scene of the same product.",
            )
        return _refuse(
            current, "NO_PRIOR", "No earlier dated scene in the archive covers this place; it is the first one."
        )


def _refuse(scene: Acquisition, code: str, reason: str) -> Refusal:
    return Refusal(item=scene.name, level="acquisition", code=code, reason=reason)


def _kind(scene: Acquisition) -> str:
    """Product, bands and value type in words."""
    return f"{scene.attributes['product'] or 'unknown product'}, {scene.group}"


def _distance(prior: Acquisition, current: Acquisition, covered: float) -> tuple[bool, bool, float, float, str]:
    """Order among the scenes of one pass: product, CRS, resolution, share of the current covered, name."""
    from ingest.geotiff.crs import same_crs

    ratio = float(prior.attributes["gsd_m"]) / float(current.attributes["gsd_m"])
    other_crs = not same_crs(prior.grid.frame, current.grid.frame)
    other_product = prior.attributes["product"] != current.attributes["product"]
    return other_product, other_crs, round(max(ratio, 1 / ratio), 1), -round(covered, 3), prior.name


def _pair(prior: Acquisition, current: Acquisition, covered: float, rules: SceneRules) -> Pair:
    """The pair, with the sentences a reader must see."""
    from ingest.geotiff.crs import same_crs

    if prior.time is None or current.time is None:
        raise ValueError("only dated scenes are paired")
    days = interval_in_days(prior.time, current.time)
    warnings = [
        f"{scene.name}: {scene.attributes['warnings']}" for scene in (prior, current) if scene.attributes["warnings"]
    ]
    if not same_crs(prior.grid.frame, current.grid.frame):
        warnings.append("Prior and current are in different coordinate reference systems; the prior is warped.")
    fine, coarse = sorted(float(scene.attributes["gsd_m"]) for scene in (prior, current))
    if coarse > 1.2 * fine:
        warnings.append(f"Resolutions differ ({fine:g} m and {coarse:g} m); both are compared at the coarser one.")
    if covered < _MOSTLY:
        warnings.append(f"The prior covers {covered:.0%} of the current's valid ground; the rest is not compared.")
    products = [scene.attributes["product"] for scene in (prior, current)]
    if products[0] != products[1]:
        warnings.append(
            f"Only one of the names states a product ({products[0] or products[1]}); that both are of it is assumed."
        )
    platforms = {scene.attributes["platform"] for scene in (prior, current)} - {""}
    if len(platforms) > 1:
        warnings.append(f"The scenes come from different satellites: {' and '.join(sorted(platforms))}.")
    return make_pair(
        prior,
        current,
        reason=f"{_RANKS[rules.prior]} of this place with the same bands, {days:.4g} days before; it covers "
        f"{covered:.0%} of the current's valid footprint.{rules.remark}",
        warnings=tuple(warnings),
    )
