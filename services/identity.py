"""Which model, adapter and prompt made a report?"""

from dataclasses import dataclass

from services.digest import digest


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """What makes a report of the same pair another report.

    Attributes:
        name: For people; does not count.
        model_hash: Hash of the host's weights.
        adapter_hash: Hash of the adapter's weights; empty without adapter.
        prompt_version: Version of the prompt.
    """

    name: str
    model_hash: str
    adapter_hash: str
    prompt_version: str

    @property
    def key(self) -> str:
        """Hash of model, adapter and prompt version."""
        return digest(self.model_hash, self.adapter_hash, self.prompt_version)

    def report_id(self, pair_id: str) -> str:
        """Id of this model's report on a pair, and of the workflow that makes it."""
        return digest(pair_id, self.model_hash, self.adapter_hash, self.prompt_version)
