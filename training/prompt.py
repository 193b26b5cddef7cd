"""What is the model asked, in training and in serving alike?"""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from reports.vocabulary import Domain

#: Raised with every change of the texts of `Wording.REPORT`; part of each report's provenance.
PROMPT_VERSION: Final = "pair-1"


class Wording(StrEnum):
    """How a question about a pair is put: our reports', or that of a published data set."""

    REPORT = "report"
    MEDICAL_DIFF_VQA = "medical-diff-vqa"
    MS_CXR_T = "ms-cxr-t"
    LEVIR_CC = "levir-cc"


class _Dialogue(NamedTuple):
    """What the system says, what goes with the prior, the assistant's words between, what goes with the current."""

    system: str
    prior: str
    between: str
    current: str
    question: str


#: Texts after the prior and after the current image. Order as in arXiv 2606.04433: prior first, current second.
_TEXTS: Final[dict[Domain, tuple[str, str]]] = {
    Domain.RADIOLOGY: ("Prior chest radiograph.", "Current chest radiograph. What has changed?"),
    Domain.SATELLITE: ("Prior satellite scene.", "Current satellite scene. What has changed?"),
}

#: Source: arXiv 2606.04433, appendix B. That of MS-CXR-T, which the paper does not use, is ours in the same form.
_DIALOGUES: Final[dict[Wording, _Dialogue]] = {
    Wording.MEDICAL_DIFF_VQA: _Dialogue(
        "You are a medical imaging expert. Given a reference chest X-ray and a current chest X-ray from the same "
        "patient, describe what findings have changed.",
        "This is the reference (prior) chest X-ray.",
        "Understood. Please provide the current chest X-ray.",
        "This is the current chest X-ray.",
        "What has changed compared to the reference image?",
    ),
    Wording.MS_CXR_T: _Dialogue(
        "You are a medical imaging expert. Given a reference chest X-ray and a current chest X-ray from the same "
        "patient, say how a finding has changed.",
        "This is the reference (prior) chest X-ray.",
        "Understood. Please provide the current chest X-ray.",
        "This is the current chest X-ray.",
        "What has changed compared to the reference image?",
    ),
    Wording.LEVIR_CC: _Dialogue(
        "You are an expert at detecting and describing changes between two images. Given a before and after image, "
        "describe what has changed.",
        "This is the before satellite image.",
        "Understood. Please provide the after image.",
        "This is the after satellite image.",
        "Describe what has changed.",
    ),
}


def prompt_texts() -> list[str]:
    """All texts that prompts for reports are made of, for a tokenizer to learn."""
    return [text for texts in _TEXTS.values() for text in texts]


def pair_messages(
    domain: Domain,
    answer: str | None = None,
    *,
    wording: Wording = Wording.REPORT,
    question: str | None = None,
) -> list[dict[str, Any]]:
    """Chat messages of one pair: prior image and text, current image and text, and the answer when training.

    Args:
        domain: Decides the texts of our reports.
        answer: The assistant's last turn, if it is known.
        wording: Whose texts to use.
        question: Stands in the place of the wording's own question; not for reports.

    Raises:
        ValueError: A question was given for a report.
    """
    if wording is Wording.REPORT:
        if question is not None:
            raise ValueError("Reports have one fixed question; a question of its own needs another wording.")
        prior_text, current_text = _TEXTS[domain]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [*_image(prior_text), *_image(current_text)]},
        ]
    else:
        texts = _DIALOGUES[wording]
        current_text = f"{texts.current} {question or texts.question}"
        messages = [
            {"role": "system", "content": texts.system},
            {"role": "user", "content": _image(f"\n{texts.prior}")},
            {"role": "assistant", "content": texts.between},
            {"role": "user", "content": _image(f"\n{current_text}")},
        ]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages


def _image(text: str) -> list[dict[str, str]]:
    return [{"type": "image"}, {"type": "text", "text": text}]
