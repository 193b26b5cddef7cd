"""Orthanc with its DICOMweb plugin as a peer: a process of its own on a free port, with a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "pass:wörd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_orthanc(require_program: Callable[[str], Path]) -> Path:
    """The program; without its plugin the test skips, and fails when CI=true."""
    program = require_program("Orthanc")
    if not PLUGIN.exists():
        reason = "needs Orthanc's DICOMweb plugin, of the package orthanc-dicomweb"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


class OrthancPeer:
    """One Orthanc that may be stopped and started; what it stores stays in its folder."""

    def __init__(self, program: Path, folder: Path):
        self._program = program
        self._folder = folder
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        port = free_port()
        self._root = f"http://127.0.0.1:{port}"
        self.address = f"{self._root}/dicom-web"
        self._configuration = folder / "orthanc.json"
        self._configuration.write_text(
            json.dumps(
                {
                    "Name": "tests",
                    "StorageDirectory": str(folder / "db"),
                    "IndexDirectory": str(folder / "db"),
                    "HttpPort": port,
                    "DicomServerEnabled": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {USER: PASSWORD},
                    "Plugins": [str(PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "SaveJobs": False,
                }
            )
        )

    def start(self) -> None:
        self._log = (self._folder / "orthanc.log").open("ab")
        self._process = subprocess.Popen(
            [self._program, self._configuration], stdout=self._log, stderr=subprocess.STDOUT, cwd=self._folder
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                requests.get(f"{self._root}/system", auth=_auth(), timeout=5).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError((self._folder / "orthanc.log").read_text(errors="replace")[-2000:])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def store(self, *contents: bytes) -> None:
        """Stores DICOM files through Orthanc's own interface, which keeps their bytes."""
        with requests.Session() as session:
            session.auth = _auth()
            for content in contents:
                answer = session.post(f"{self._root}/instances", data=content, timeout=60)
                answer.raise_for_status()
                assert answer.json()["Status"] == "Success"

    def delete(self, study: str) -> None:
        """Deletes a study by its UID."""
        with requests.Session() as session:
            session.auth = _auth()
            (key,) = session.post(f"{self._root}/tools/lookup", data=study, timeout=60).json()
            session.delete(f"{self._root}{key['Path']}", timeout=60).raise_for_status()


def _auth() -> requests.auth.HTTPBasicAuth:
    # As text, requests would send the user and the password in Latin-1.
    return requests.auth.HTTPBasicAuth(USER.encode(), PASSWORD.encode())
