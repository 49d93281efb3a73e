"""Fuzzes the documents of /openapi/v3 with schemathesis: python schema.py KUBECONFIG EXAMPLES SEED GROUP...

An error of the server is a failure, and so is a request that is not answered. A group is a path such as apis/apps/v1; `all` is
whatever there is.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from kubernetes import client, config

# Seconds that one request may take.
REQUEST_TIMEOUT = 20


def fuzz(folder, configuration, path, document, examples, seed):
    """Whether all requests to one group were answered well."""
    location = Path(folder, "document.json")
    location.write_text(document)
    print(f"== {path}", flush=True)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(location),
        "--url", configuration.host,
        "--tls-verify", configuration.ssl_ca_cert,
        "--request-cert", configuration.cert_file,
        "--request-cert-key", configuration.key_file,
        "--request-timeout", str(REQUEST_TIMEOUT),
        "--checks", "no_error_of_the_server",
        "--phases", "fuzzing",
        "--max-examples", examples,
        "--seed", seed,
        "--continue-on-failure",
        "--generation-database", "none",
        "--suppress-health-check", "all",
        "--warnings", "off",
        "--no-shrink",
        "--no-color",
    ]  # fmt: skip
    hooks = str(Path(__file__).parent / "schema_hooks.py")
    ended = subprocess.run(command, cwd=folder, env=os.environ | {"SCHEMATHESIS_HOOKS": hooks}, check=False)
    return ended.returncode == 0


def main():
    kubeconfig, examples, seed, *groups = sys.argv[1:]
    config.load_kube_config(kubeconfig)
    configuration = client.Configuration.get_default_copy()
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    context.load_cert_chain(configuration.cert_file, configuration.key_file)

    def read(path):
        with urllib.request.urlopen(configuration.host + path, context=context) as answer:
            return answer.read().decode()

    documents = json.loads(read("/openapi/v3"))["paths"]
    chosen = list(documents) if groups == ["all"] else groups
    with tempfile.TemporaryDirectory() as folder:
        bad = [
            path
            for path in chosen
            if not fuzz(folder, configuration, path, read(documents[path]["serverRelativeURL"]), examples, seed)
        ]
    if bad:
        sys.exit(f"not all requests were answered well: {' '.join(bad)}")


main()
