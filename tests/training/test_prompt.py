import pytest

from reports.vocabulary import Domain
from training.prompt import Wording, pair_messages


def flat(messages):
    """Roles with their text, images as the paper writes them."""
    return [
        (
            one["role"],
            one["content"]
            if isinstance(one["content"], str)
            else "".join(part.get("text", "<image>") for part in one["content"]),
        )
        for one in messages
    ]


def test_the_dialogue_of_medical_diff_vqa_is_the_papers():
    # arXiv 2606.04433, appendix B
    assert flat(pair_messages(Domain.RADIOLOGY, "nothing has changed.", wording=Wording.MEDICAL_DIFF_VQA)) == [
        (
            "system",
            "You are a medical imaging expert. Given a reference chest X-ray and a current chest X-ray from the same "
            "patient, describe what findings have changed.",
        ),
        ("user", "<image>\nThis is the reference (prior) chest X-ray."),
        ("assistant", "Understood. Please provide the current chest X-ray."),
        (
            "user",
            "<image>\nThis is the current chest X-ray. What has changed compared to the reference image?",
        ),
        ("assistant", "nothing has changed."),
    ]


def test_the_dialogue_of_levir_cc_is_the_papers():
    assert flat(pair_messages(Domain.SATELLITE, wording=Wording.LEVIR_CC)) == [
        (
            "system",
            "You are an expert at detecting and describing changes between two images. Given a before and after image, "
            "describe what has changed.",
        ),
        ("user", "<image>\nThis is the before satellite image."),
        ("assistant", "Understood. Please provide the after image."),
        ("user", "<image>\nThis is the after satellite image. Describe what has changed."),
    ]


def test_a_question_of_its_own_stands_in_the_place_of_the_wordings():
    asked = pair_messages(Domain.RADIOLOGY, wording=Wording.MS_CXR_T, question="How has edema changed?")

    assert flat(asked)[-1] == ("user", "<image>\nThis is the current chest X-ray. How has edema changed?")


def test_reports_are_asked_for_in_one_turn_and_in_one_way():
    (turn,) = flat(pair_messages(Domain.SATELLITE))

    assert turn == ("user", "<image>Prior satellite scene.<image>Current satellite scene. What has changed?")
    with pytest.raises(ValueError, match="one fixed question"):
        pair_messages(Domain.SATELLITE, question="How has it changed?")
