"""A real API server with its etcd on loopback ports; no kubelet, so pods stay pending."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.chart.helm import helm_binary
from tests.e2e.processes import Started, free_port, peer, until

if TYPE_CHECKING:
    from pathlib import Path

_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
  - {{name: local, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {folder}/ca.pem}}}}
users: [{{name: user, user: {{client-certificate: {folder}/{user}.pem, client-key: {folder}/{user}.key}}}}]
contexts: [{{name: local, context: {{cluster: local, user: user}}}}]
current-context: local
"""


def program(name: str) -> str:
    """A program of this machine; the test is skipped, or fails under CI, if it is not there."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name}: not on PATH")
    return found


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificate(folder: Path, name: str, subject: str, extension: str) -> None:
    (folder / f"{name}.ext").write_text(extension)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", f"{name}.key")
    _openssl(folder, "req", "-new", *key, "-subj", subject, "-out", f"{name}.csr")
    by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", *by, "-extfile", f"{name}.ext", "-out", f"{name}.pem"
    )


class Cluster:
    """Started when it is made; :meth:`end` ends it."""

    _server: subprocess.Popen[bytes] | None = None

    def __init__(self, folder: Path) -> None:
        self._kubectl_binary = peer("kubectl")
        server, etcd = peer("kube-apiserver"), program("etcd")
        self._started = Started(folder)
        self.folder = folder
        self.kubeconfig = folder / "admin.kubeconfig"
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", "ca.key")
        _openssl(folder, "req", "-x509", *key, "-subj", "/CN=ca", "-days", "2", "-out", "ca.pem")
        _certificate(folder, "server", "/CN=server", "subjectAltName=IP:127.0.0.1,IP:10.96.0.1\n")
        _openssl(
            folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "accounts.key"
        )
        _openssl(folder, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
        try:
            self._start(folder, server, etcd)
        except BaseException:
            self.end()
            raise

    def _start(self, folder: Path, server: Path, etcd_binary: str) -> None:
        client, peers, port = (free_port() for _ in range(3))
        etcd = f"http://127.0.0.1:{client}"
        among = f"http://127.0.0.1:{peers}"
        self._started.start(
            "etcd",
            [
                etcd_binary, f"--data-dir={folder}/etcd", f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}", f"--listen-peer-urls={among}", "--unsafe-no-fsync",
                f"--initial-advertise-peer-urls={among}", f"--initial-cluster=default={among}",
            ],
        )  # fmt: skip
        self._server = self._started.start(
            "kube-apiserver",
            [
                server, f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
                f"--secure-port={port}", f"--tls-cert-file={folder}/server.pem",
                f"--tls-private-key-file={folder}/server.key", f"--client-ca-file={folder}/ca.pem",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder}/accounts.pub",
                f"--service-account-signing-key-file={folder}/accounts.key",
                "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
                "--allow-privileged=true", "--disable-admission-plugins=ServiceAccount",
                "--enable-admission-plugins=PodSecurity,ResourceQuota,LimitRanger",
                "--endpoint-reconciler-type=none",
            ],
        )  # fmt: skip
        self._port = port
        self.user("admin", "/O=system:masters/CN=admin")
        until("the API server is ready", lambda: self.kubectl("get", "--raw=/readyz").returncode == 0, 120)

    def user(self, name: str, subject: str) -> Path:
        """The kubeconfig of a user with a certificate of this subject."""
        _certificate(self.folder, name, subject, "extendedKeyUsage=clientAuth\n")
        kubeconfig = self.folder / f"{name}.kubeconfig"
        kubeconfig.write_text(_KUBECONFIG.format(port=self._port, folder=self.folder, user=name))
        return kubeconfig

    def end(self) -> None:
        if self._server is not None:
            self._server.kill()  # a graceful end waits for the etcd that ends too
        self._started.end()

    def kubectl(self, *arguments: str | Path, given: object = None) -> subprocess.CompletedProcess[str]:
        """``given`` is an object for ``--filename=-``."""
        return subprocess.run(
            [self._kubectl_binary, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=None if given is None else json.dumps(given),
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def done(self, *arguments: str | Path, given: object = None) -> str:
        """What kubectl printed; it must succeed, and the server must not warn."""
        result = self.kubectl(*arguments, given=given)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout

    def got(self, *arguments: str) -> Any:
        """The object that ``kubectl get`` gives."""
        return json.loads(self.done("get", *arguments, "--output=json"))

    def helm(self, *arguments: str | Path) -> str:
        """What helm printed; it must succeed, and the server must not warn."""
        command = [helm_binary(), *arguments, f"--kubeconfig={self.kubeconfig}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout
