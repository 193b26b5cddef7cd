"""What must a model offer to be run over an archive, and how is the configured one loaded?"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ingest.acquisition import Acquisition
from ingest.errors import IngestError
from ingest.pixels import AlignedPair
from reports.finding import Finding
from reports.vocabulary import Domain
from services.errors import PredictorUnusable
from services.identity import ModelIdentity


class Prediction(Protocol):
    """What a model says about one aligned pair.

    Attributes:
        text: The report.
        findings: The report's findings, in its order.
        evidence: Update map, (rows, columns) float32: how much the prior changed each token of the current.
        raw_output: What was generated, before parsing.
        unparsed: Sentences of the raw output that are no finding.
        quality: Measured figures of what was looked at, stored beside those of the alignment.
    """

    @property
    def text(self) -> str: ...  # noqa: D102 - described above
    @property
    def findings(self) -> Sequence[Finding]: ...  # noqa: D102
    @property
    def evidence(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def raw_output(self) -> str: ...  # noqa: D102
    @property
    def unparsed(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def quality(self) -> Mapping[str, float]: ...  # noqa: D102


class Predictor(Protocol):
    """A model with its adapter and prompt, ready to report.

    Attributes:
        name: For people.
        model_hash: Hash of the host's weights.
        adapter_hash: Hash of the adapter's weights; empty without adapter.
        prompt_version: Version of the prompt.
        trained_on_real_images: False for a model that has seen generated images only.
        supported_views: Views of radiographs, and modalities of volumes, that the model may be asked about.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def model_hash(self) -> str: ...  # noqa: D102
    @property
    def adapter_hash(self) -> str: ...  # noqa: D102
    @property
    def prompt_version(self) -> str: ...  # noqa: D102
    @property
    def trained_on_real_images(self) -> bool: ...  # noqa: D102
    @property
    def supported_views(self) -> Sequence[str]: ...  # noqa: D102

    def report(self, aligned: AlignedPair, domain: Domain) -> Prediction:
        """The model's report about one pair."""
        ...


class NotSupportedByModel(IngestError):
    """The model was not made for this view or kind of image; run the archive with a model that supports it."""

    code = "NOT_SUPPORTED_BY_MODEL"


def identity_of(predictor: Predictor) -> ModelIdentity:
    """Which model a loaded predictor is."""
    return ModelIdentity(
        name=predictor.name,
        model_hash=predictor.model_hash,
        adapter_hash=predictor.adapter_hash,
        prompt_version=predictor.prompt_version,
    )


class OneAtATime:
    """A predictor whose `report` several threads may call: the model itself works on one pair at a time.

    Reading and aligning the next pair overlaps with the model's work on this one.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._lock = threading.Lock()

    def check_supports(self, current: Acquisition) -> None:
        """Nothing, if the model may be asked about an acquisition; asked before the pair is read and aligned.

        Raises:
            NotSupportedByModel: The model was not made for radiographs of this view, or for volumes of this modality.
        """
        if current.domain != Domain.RADIOLOGY:
            return
        modality = current.attributes.get("modality", "")
        if (modality if current.files else current.view) in self.predictor.supported_views:
            return
        kind = f"{modality} volumes" if current.files else f"radiographs of view {current.view or 'unknown'}"
        raise NotSupportedByModel(
            f"{self.predictor.name} was not made for {kind}; run the archive with a model that supports them."
        )

    def report(self, aligned: AlignedPair, domain: Domain) -> Prediction:
        """The model's report about one pair."""
        with self._lock:
            return self.predictor.report(aligned, domain)


def load_predictor(folder: Path | None = None, *, cache_bytes: int | None = None) -> Predictor:
    """The model in a folder, or the embedded one; takes seconds, for torch is imported here.

    Args:
        folder: The model; None for the embedded one.
        cache_bytes: Encoded images that it keeps at most; 0 has every answer depend on its own batch alone.

    Raises:
        PredictorUnusable: There is no usable model in the folder.
    """
    from training.errors import TrainingError
    from training.predict import Predictor as TrainedPredictor

    try:
        if cache_bytes is None:
            return cast(Predictor, TrainedPredictor.load(folder))
        return cast(Predictor, TrainedPredictor.load(folder, cache_bytes=cache_bytes))
    except (TrainingError, OSError, ValueError, KeyError) as error:
        where = "The embedded model" if folder is None else f"The model in {folder.name!r}"
        raise PredictorUnusable(
            f"{where} cannot be loaded ({type(error).__name__}); check --model or INTERVAL_MODEL, or run "
            "`interval doctor`."
        ) from error
