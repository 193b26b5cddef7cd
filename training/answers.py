"""Where do the answers to a data set's questions stand? In a file with one JSON object a line, as they were given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from training.errors import TrainingError


class AnswersUnusable(TrainingError, ValueError):
    """A file of answers cannot be used; the message names the line and what to do."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answered about one pair.

    Attributes:
        id: Id of the sample.
        text: The answer as it was generated.
        model: Which model gave it, see `training.answering.model_key`; empty where another program wrote the file.
    """

    id: str
    text: str
    model: str = ""

    def to_json(self) -> str:
        """The answer as a line, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


def read_answers(path: Path, *, whole: bool = True) -> dict[str, Answer]:
    """The answers of a file by id, in its order.

    Args:
        path: A file with one JSON object a line, with `id` and `text`.
        whole: False leaves out a last line without its end, which a killed process may leave.

    Raises:
        AnswersUnusable: The file cannot be read, a line is no such object, or an id comes twice.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise AnswersUnusable(f"{path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        if whole:
            raise AnswersUnusable(f"{path.name} is not UTF-8 text at byte {error.start}.") from error
        text = path.read_bytes()[: error.start].decode("utf-8")
    lines = text.split("\n")
    last = lines.pop()
    if last and whole:
        lines.append(last)
    answers: dict[str, Answer] = {}
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            answer = Answer(id=found["id"], text=found["text"], model=found.get("model", ""))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise AnswersUnusable(
                f"{path.name}, line {number}: no JSON object with `id` and `text`; take the line out or write it again."
            ) from error
        if not isinstance(answer.id, str) or not isinstance(answer.text, str):
            raise AnswersUnusable(f"{path.name}, line {number}: `id` and `text` must be strings.")
        if answer.id in answers:
            raise AnswersUnusable(f"{path.name}, line {number}: the id of an earlier line; keep one of the two.")
        answers[answer.id] = answer
    return answers


def texts_for(
    ids: Mapping[str, object], answers: Mapping[str, Answer], *, known: frozenset[str], name: str
) -> list[str]:
    """The text of each id, in the order of the ids.

    Args:
        ids: Those that are wanted.
        answers: From a file.
        known: All ids of the data set: answers to other splits are left aside.
        name: The file's name, for the message.

    Raises:
        AnswersUnusable: Ids have no answer, or an answer is about no sample of the data set.
    """
    strange = len(answers.keys() - known)
    if strange:
        raise AnswersUnusable(f"{name}: {strange} of {len(answers)} ids are not in the data set; is it the same one?")
    missing = sum(one not in answers for one in ids)
    if missing:
        raise AnswersUnusable(
            f"{name}: {missing} of {len(ids)} samples have no answer; run `interval predict` again, it goes on."
        )
    return [answers[one].text for one in ids]
