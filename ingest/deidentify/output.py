"""What does the folder of the results hold beside them, and who may write to it?"""

import fcntl
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from ingest.deidentify.actions import EDITION
from ingest.deidentify.errors import OutputUnusable
from ingest.deidentify.options import Options, PixelStep
from ingest.deidentify.secret import Secret

MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"


class OutputFolder:
    """The folder while one run writes to it: locked against others, with its manifest and a place for unfinished files.

    Attributes:
        unfinished: Folder for results that have no name yet; emptied at the start and gone at the end.
    """

    def __init__(self, out: Path, *, root: Path, secret: Secret, options: Options) -> None:
        """Looks at the folder; nothing is written before the context is entered.

        Raises:
            OutputUnusable: It lies inside the archive or around it, or was not written with this key and these options.
        """
        here, archive = out.resolve(), root.resolve()
        if here == archive or archive in here.parents or here in archive.parents:
            raise OutputUnusable("The output folder and the archive lie in each other; give a folder elsewhere.")
        self.unfinished = out / _UNFINISHED
        self._out = out
        self._settings = {
            "program": f"Interval {version('interval-change')}",
            "profile": f"PS3.15 {EDITION} Basic Application Level Confidentiality Profile",
            "key_check": secret.check,
            "patient_characteristics_retained": options.characteristics,
            # Images without a risk of text are the same with and without the step for those that have one.
            "text_looked_for_in_all_images": options.pixels is PixelStep.ALL,
        }
        self._files = self._listed()
        self._lock = -1

    def __enter__(self) -> "OutputFolder":
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._out, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.unfinished, ignore_errors=True)
            # A process of a run that was killed a moment ago may still be writing its last file into it.
            self.unfinished.mkdir(exist_ok=True)
            self._write_manifest()
        except BlockingIOError as error:
            raise OutputUnusable("Another run is writing to the output folder; wait for it to end.") from error
        except OSError as error:
            raise OutputUnusable(
                f"The output folder cannot be written to ({type(error).__name__}); check its rights and room."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            shutil.rmtree(self.unfinished, ignore_errors=True)
            self._write_manifest()
        finally:
            os.close(self._lock)

    def list_file(self, name: str, entry: dict[str, object]) -> None:
        """Puts a result on the list that the manifest will hold."""
        self._files[name] = entry

    def _listed(self) -> dict[str, dict[str, object]]:
        """What an earlier run has listed."""
        if not self._out.exists():
            return {}
        if not self._out.is_dir():
            raise OutputUnusable("The output is a file; give a folder.")
        manifest = self._out / MANIFEST
        if not manifest.exists():
            if any(one.name != _UNFINISHED for one in self._out.iterdir()):
                raise OutputUnusable("The output folder holds other things; give an empty one.")
            return {}
        try:
            recorded = json.loads(manifest.read_text(encoding="utf-8"))
            settings, files = recorded["settings"], recorded["files"]
            listed = {one.pop("file"): one for one in files}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputUnusable("The output folder's manifest cannot be read; give an empty folder.") from error
        if settings != self._settings:
            differing = ", ".join(sorted(name for name in self._settings if settings.get(name) != self._settings[name]))
            raise OutputUnusable(
                f"The output folder was written with another {differing or 'version'}; use the same or an empty folder."
            )
        return listed

    def _write_manifest(self) -> None:
        files = [{"file": name, **self._files[name]} for name in sorted(self._files)]
        content = json.dumps({"settings": self._settings, "files": files}, indent=1)
        unfinished = self._out / f"{MANIFEST}{_UNFINISHED}"
        unfinished.write_text(content + "\n", encoding="utf-8")
        unfinished.replace(self._out / MANIFEST)
