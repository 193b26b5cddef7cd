"""What is the model asked, in training and in serving alike?"""

from typing import Any, Final

from reports.vocabulary import Domain

#: Raised with every change of the texts below; part of each report's provenance.
PROMPT_VERSION: Final = "pair-1"

#: Texts after the prior and after the current image. Order as in arXiv 2606.04433: prior first, current second.
_TEXTS: Final[dict[Domain, tuple[str, str]]] = {
    Domain.RADIOLOGY: ("Prior chest radiograph.", "Current chest radiograph. What has changed?"),
    Domain.SATELLITE: ("Prior satellite scene.", "Current satellite scene. What has changed?"),
}


def prompt_texts() -> list[str]:
    """All texts that prompts are made of, for a tokenizer to learn."""
    return [text for texts in _TEXTS.values() for text in texts]


def pair_messages(domain: Domain, answer: str | None = None) -> list[dict[str, Any]]:
    """Chat messages of one pair: prior image and text, current image and text, and the answer when training."""
    prior_text, current_text = _TEXTS[domain]
    content = [
        {"type": "image"},
        {"type": "text", "text": prior_text},
        {"type": "image"},
        {"type": "text", "text": current_text},
    ]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages
