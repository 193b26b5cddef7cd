"""What does a trained model with visual memory do while it reports on a pair?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reports.audit import Audit
from training.batch import PairSample
from training.control import audit_samples, labelled_samples
from training.predict import Predictor

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SentenceMap:
    """Where the visual memory was read for one sentence.

    Attributes:
        sentence: As it was generated.
        prior: (rows, columns) float32 over the prior's tokens.
        current: The same over the current's; both together sum to 1.
    """

    sentence: str
    prior: NDArray[np.float32]
    current: NDArray[np.float32]


def attention_profile(predictor: Predictor, sample: PairSample, *, steps: int) -> NDArray[np.float32]:
    """Visual attention mass (layers, steps) while the model writes on about a pair; `models.attention_mass`."""
    from models.attention_mass import attention_mass

    mass: NDArray[np.float32] = attention_mass(predictor.model, predictor.inputs([sample]), steps=steps).mass.numpy()
    return mass


def lens_profile(predictor: Predictor, sample: PairSample) -> NDArray[np.float32]:
    """KL to the last layer (layers + 1), the mean over the tokens of the model's own report; `models.logit_lens`."""
    import torch

    from models.logit_lens import logit_lens

    inputs, prompt = _with_report(predictor, sample)
    chosen = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    chosen[:, prompt - 1 : -1] = True  # from these positions the report's tokens were chosen
    profile: NDArray[np.float32] = logit_lens(predictor.model, inputs, chosen).numpy()
    return profile


def sentence_maps(predictor: Predictor, sample: PairSample) -> list[SentenceMap]:
    """Of each sentence of the model's own report, where in prior and current the visual memory was read for it.

    Raises:
        AttachmentError: The model has no visual memory.
    """
    from models.retrieval import retrieval_maps

    inputs, prompt = _with_report(predictor, sample)
    ids = inputs["input_ids"][0, prompt:].tolist()
    spans, texts, first = [], [], 0
    for position in range(len(ids)):
        text = predictor.decode(ids[first : position + 1])
        if text.endswith(".") or position == len(ids) - 1:
            if text:
                texts.append(text)
                spans.append(slice(prompt + first - 1, prompt + position))
            first = position + 1
    maps = retrieval_maps(predictor.model, inputs, spans)
    return [
        SentenceMap(sentence=text, prior=prior.numpy(), current=current.numpy())
        for text, (prior, current) in zip(texts, maps, strict=True)
    ]


def _with_report(predictor: Predictor, sample: PairSample) -> tuple[dict[str, Tensor], int]:
    """Inputs of a forward over prompt and generated report, and the prompt's length."""
    import torch

    inputs = predictor.inputs([sample])
    prompt = inputs["input_ids"].shape[1]
    ids = predictor.write(inputs)
    extra = ids.shape[1] - prompt
    types = {name: torch.nn.functional.pad(inputs[name], (0, extra)) for name in inputs if "token_type_ids" in name}
    mask = torch.nn.functional.pad(inputs["attention_mask"], (0, extra), value=1)
    return {**inputs, **types, "input_ids": ids, "attention_mask": mask}, prompt


def memory_controls(root: Path, predictor: Predictor) -> dict[str, Audit]:
    """The audit of an archive with labels, as the model is and with its visual memory taken away or spoilt.

    "gates closed" is the same weights without the memory; "shuffled memory" reads the right places and finds what
    belongs elsewhere; "wrong image" reads another pair. A gain over closed gates that survives these two is not
    retrieval.

    Raises:
        AttachmentError: The model has no visual memory.
        IngestError: A labelled pair cannot be aligned.
    """
    from models.retrieval import shuffled_memory, wrong_image

    rows = list(labelled_samples(root, predictor))
    conditions: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "as it is": nullcontext,
        "gates closed": lambda: closed_gates(predictor),
        "shuffled memory": lambda: shuffled_memory(0),
        "wrong image": wrong_image,
    }
    audits = {}
    for name, condition in conditions.items():
        with condition():
            audits[name] = audit_samples(rows, [sample for _, _, sample, _ in rows], predictor)
    return audits


@contextmanager
def closed_gates(predictor: Predictor) -> Iterator[None]:
    """Within, the visual memory adds nothing; afterwards the gates are as before.

    Raises:
        AttachmentError: The model has no visual memory.
    """
    import torch

    from models.attach import own_parameters
    from models.errors import AttachmentError

    gates = [
        parameter
        for name, parameter in own_parameters(predictor.model).items()
        if name.endswith(("gate_alpha", "gate_token.weight"))
    ]
    if not gates:
        raise AttachmentError("There is no visual memory on this model, so there are no gates to close.")
    before: Sequence[Tensor] = [gate.detach().clone() for gate in gates]
    with torch.no_grad():
        try:
            for gate in gates:
                gate.zero_()
            yield
        finally:
            for gate, value in zip(gates, before, strict=True):
                gate.copy_(value)
