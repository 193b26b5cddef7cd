"""What does a model report about one aligned pair?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ingest.pixels import AlignedPair
from reports.compose import compose
from reports.finding import Certainty, Finding
from reports.parse import parse
from reports.vocabulary import Domain
from training.batch import PairSample, prompt_batch
from training.encoding import CACHE_BYTES, PairEncoder, without_pixels
from training.errors import TrainingError
from training.prediction import Prediction, report_by_chips, surest_findings, whole_grid
from training.prompt import PROMPT_VERSION
from training.samples import model_image

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, ProcessorMixin

#: What a folder of ours says beside the files of transformers; `ModelCard` is its content.
CARD_FILE: Final = "interval.json"

#: Least probability of a sentence, given the report so far, for each certainty.
CERTAINTY_THRESHOLDS: Final = ((0.7, Certainty.CERTAIN), (0.4, Certainty.PROBABLE), (0.0, Certainty.POSSIBLE))

#: Longest report in tokens; the longest of the training archives has about 60.
MAX_NEW_TOKENS: Final = 192


class ModelFolderUnusable(TrainingError, FileNotFoundError):
    """A model folder lacks a file, or what it holds is no model of ours; see `interval doctor`."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What serving must know about a model and the weights do not say.

    Attributes:
        name: For people.
        trained_on_real_images: False for a model that has seen generated images only.
        supported_views: Views of radiographs, and modalities of volumes ("CT", "MR"), that the model was trained on.
        image_size: Side of the square image that the model is given, in pixels.
        chip_size: Side, in native pixels, of the largest part of a scene that is shown to the model at once; larger
            scenes are cut into such chips.
    """

    name: str
    trained_on_real_images: bool
    supported_views: tuple[str, ...]
    image_size: int
    chip_size: int

    def to_json(self) -> str:
        """The card as it stands in the folder."""
        return json.dumps({key: getattr(self, key) for key in self.__dataclass_fields__}, indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """The card of a folder.

        Raises:
            ModelFolderUnusable: There is no card, or it has other keys than these.
        """
        path = folder / CARD_FILE
        if not path.is_file():
            raise ModelFolderUnusable(
                f"{folder.name} has no {CARD_FILE}; a model folder is made by the training recipe."
            )
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if set(content) != set(cls.__dataclass_fields__):
            wanted = ", ".join(cls.__dataclass_fields__)
            raise ModelFolderUnusable(f"{CARD_FILE} of {folder.name} has the keys {sorted(content)}; wanted: {wanted}.")
        content["supported_views"] = tuple(content["supported_views"])
        return cls(**content)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """One generated report: its text, and each sentence with its probability given what stands before it."""

    text: str
    sentences: tuple[tuple[str, float], ...]


def embedded_folder() -> Path:
    """Folder of the model that ships with the package."""
    import models

    return Path(models.__file__).parent / "compact"


class Predictor:
    """A host with its adapter, ready to report; made by `load`.

    Attributes:
        model: The host, with what is attached.
        processor: Its processor of images and prompts.
        name: For people.
        model_hash: sha256 over the folder's files but the adapter's.
        adapter_hash: sha256 over the adapter's files; empty without adapter.
        prompt_version: Version of the prompt.
        trained_on_real_images: False for a model that has seen generated images only.
        supported_views: Views of radiographs, and modalities of volumes, that the model may be asked about.
        image_size: Side of the square image that the model is given, in pixels.
        encoder: Encodes each image once and keeps it; None where every pair's images are encoded anew.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        card: ModelCard,
        hashes: tuple[str, str],
        encoder: PairEncoder | None,
    ) -> None:
        self.model = model
        self.processor = processor
        self._card = card
        self.image_size = card.image_size
        self.name = card.name
        self.model_hash, self.adapter_hash = hashes
        self.prompt_version = PROMPT_VERSION
        self.trained_on_real_images = card.trained_on_real_images
        self.supported_views = card.supported_views
        self.image_size = card.image_size
        self.encoder = encoder

    @classmethod
    def load(cls, folder: Path | None = None, *, device: str = "cpu", cache_bytes: int = CACHE_BYTES) -> Predictor:
        """The model of a folder, or the embedded one, in fp32.

        Args:
            folder: A folder of ours.
            device: Where it runs.
            cache_bytes: Encoded images that are kept at most, for pairs that share one; 0 keeps none.

        Raises:
            ModelFolderUnusable: A file is missing or is not ours.
        """
        import torch
        from transformers import AutoProcessor

        folder = embedded_folder() if folder is None else folder
        card = ModelCard.read(folder)
        model = load_model(folder)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
        torch.nn.Module.to(model, device)
        model.train(False)
        return cls(model, processor, card, _hashes(folder), _encoder(model, cache_bytes))

    def report(self, aligned: AlignedPair, domain: Domain) -> Prediction:
        """The model's report about one pair, with its evidence map.

        Of two volumes every pair of matched slices is reported on, in one batch; the report holds each finding once, as
        the slices that are surest of it have it, and the evidence map is that of the middle slices.
        """
        if domain == Domain.SATELLITE and max(whole_grid(aligned).shape) > self._card.chip_size:
            return report_by_chips(
                aligned,
                domain,
                chip_size=self._card.chip_size,
                report=lambda chips: self._report_each(chips, domain),
            )
        generated = self.generate([self.sample(pair, domain) for pair in aligned.slices or (aligned,)])
        return self._prediction(generated, self.sample(aligned, domain))

    def _report_each(self, pairs: Sequence[AlignedPair], domain: Domain) -> list[Prediction]:
        """One report a pair, written in one batch."""
        samples = [self.sample(pair, domain) for pair in pairs]
        return [self._prediction([one], sample) for one, sample in zip(self.generate(samples), samples, strict=True)]

    def _prediction(self, generated: Sequence[Generated], shown: PairSample) -> Prediction:
        """One report of what was generated on one or several samples; the evidence is that of `shown`."""
        domain = shown.domain
        findings = surest_findings(certain_findings(domain, one) for one in generated)
        return Prediction(
            text=compose(domain, findings),
            findings=findings,
            evidence=self._evidence(self.inputs([shown])).cpu().numpy().astype(np.float32),
            raw_output="\n".join(one.text for one in generated),
            unparsed=tuple(sentence for one in generated for sentence in parse(domain, one.text).unparsed),
        )

    def sample(self, aligned: AlignedPair, domain: Domain) -> PairSample:
        """The two model images of an aligned pair."""
        size = self._card.image_size
        return PairSample(
            domain=domain,
            prior=model_image(aligned.prior, size=size),
            current=model_image(aligned.current, size=size),
        )

    def generate(self, samples: Sequence[PairSample]) -> list[Generated]:
        """Greedy reports of a batch."""
        import torch

        inputs = self.inputs(samples)
        with torch.inference_mode():
            encoded = inputs if self.encoder is None else without_pixels(inputs, self.encoder.encode(inputs))
            output: Any = self.model.generate(  # type: ignore[operator]
                **encoded,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
        answers = output.sequences[:, inputs["input_ids"].shape[1] :]
        logits = torch.stack(output.logits, dim=1).float()  # (B, S, vocabulary)
        probabilities = logits.softmax(-1).gather(-1, answers[..., None])[..., 0]
        return [
            self._split(ids, chances) for ids, chances in zip(answers.tolist(), probabilities.tolist(), strict=True)
        ]

    def write(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The token ids (B, S) of prompts with their greedy reports, end token included."""
        ids: Tensor = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)  # type: ignore[operator]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens of a report."""
        text: str = self.processor.tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()

    def _evidence(self, inputs: dict[str, Tensor]) -> Tensor:
        """Update map of the one pair of a batch."""
        from models.evidence import update_map

        return update_map(self.model, inputs) if self.encoder is None else self.encoder.evidence(inputs)

    def _split(self, ids: list[int], probabilities: list[float]) -> Generated:
        """A row of tokens as sentences; the end token closes the report."""
        tokenizer = self.processor.tokenizer
        end = ids.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in ids else len(ids)
        sentences: list[tuple[str, float]] = []
        first, chance = 0, 1.0
        for position in range(end):
            chance *= probabilities[position]
            words = tokenizer.decode(ids[first : position + 1], skip_special_tokens=True)
            if words.endswith(".") or position == end - 1:
                sentences.append((words.strip(), chance))
                first, chance = position + 1, 1.0
        return Generated(text=tokenizer.decode(ids[:end], skip_special_tokens=True), sentences=tuple(sentences))

    def inputs(self, samples: Sequence[PairSample]) -> dict[str, Tensor]:
        """Prompts and images of a batch, as the model's `generate` takes them."""
        return {name: value.to(self.model.device) for name, value in prompt_batch(self.processor, samples).items()}


def load_model(folder: Path) -> PreTrainedModel:
    """Host and adapter, if there is one, of a folder, in fp32 on the CPU, as they were saved.

    Raises:
        OSError: The folder holds no host.
        AdapterError: The adapter is not one of ours, or not for this host.
    """
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging as transformers_logging

    from models.checkpoint import load_adapter

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    if (folder / "adapter.json").is_file():
        load_adapter(model, folder)
    return model


def _encoder(model: PreTrainedModel, max_bytes: int) -> PairEncoder | None:
    """The encoder of a model that can read a prior which was encoded before, where anything may be kept."""
    from models.errors import AttachmentError, UnsupportedInput

    if not max_bytes:
        return None
    try:
        return PairEncoder(model, max_bytes=max_bytes)
    except (AttachmentError, UnsupportedInput):  # a plain host; self_ext, whose pairs go through the tower together
        return None


def certain_findings(domain: Domain, generated: Generated) -> tuple[Finding, ...]:
    """Findings of a generated report in report order, each with the certainty of its sentence's probability."""
    chances: dict[tuple[str, str], float] = {}
    for sentence, chance in generated.sentences:
        for finding in parse(domain, sentence).findings:
            chances.setdefault((finding.finding, finding.place), chance)
    return tuple(
        replace(finding, certainty=certainty_of(chances[finding.finding, finding.place]))
        for finding in parse(domain, generated.text).findings
    )


def certainty_of(probability: float) -> Certainty:
    """Certainty of a sentence with this probability, in [0, 1]."""
    return next(certainty for least, certainty in CERTAINTY_THRESHOLDS if probability >= least)


def _hashes(folder: Path) -> tuple[str, str]:
    """sha256 of model and adapter: names and bytes of the files that decide what the model says, in order of name."""
    model, adapter = hashlib.sha256(), hashlib.sha256()
    has_adapter = False
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".json", ".safetensors", ".jinja"} or path.name == "recipe.json":
            continue
        is_adapter = path.name.startswith("adapter.")
        has_adapter |= is_adapter
        digest = adapter if is_adapter else model
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return model.hexdigest(), adapter.hexdigest() if has_adapter else ""
