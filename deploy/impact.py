"""An example for BOT_IMPACT_URL: what runs on a node, from Slurm or Kubernetes. Change it to your team's words.

Run it beside the bot, where `squeue` or `kubectl` works, and set BOT_IMPACT_URL=http://127.0.0.1:8765/nodes/{node}:

    python3 deploy/impact.py slurm|kubernetes [PORT]
"""

import json
import re
import subprocess
import sys
from collections.abc import Sized
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NODE = re.compile(r"/nodes/([A-Za-z0-9][A-Za-z0-9._-]*)")  # never an option of the command
EVERYWHERE = {"DaemonSet", "Node"}  # a static pod, such as GKE's kube-proxy, is its node's own
SECONDS = 1.5  # the bot waits for two


def slurm(node: str) -> dict[str, str]:
    """Return the job that has run longest on a node; nothing where none does."""
    chosen = ["--nodelist", node, "--states", "running", "--sort", "-M"]
    printed = run("squeue", *chosen, "--noheader", "--format", "%i|%u|%M|%j")
    jobs = [line.split("|", 3) for line in printed.splitlines()]
    if not jobs:
        return {}
    number, user, elapsed, name = jobs[0]
    return {"summary": f"Slurm job {number} ({name}, {elapsed} in){others(jobs)}", "owner": user}


def kubernetes(node: str) -> dict[str, str]:
    """Return the pods on a node, without those that each node has; nothing without any."""
    chosen = f"spec.nodeName={node},status.phase=Running"
    printed = run("kubectl", "get", "pods", "--all-namespaces", "--field-selector", chosen, "--output", "json")
    found = [each["metadata"] for each in json.loads(printed)["items"]]
    pods = [each for each in found if all(by["kind"] not in EVERYWHERE for by in each.get("ownerReferences", []))]
    if not pods:
        return {}
    summary = f"Pod {pods[0]['namespace']}/{pods[0]['name']}{others(pods)}"
    return {"summary": summary, "owner": pods[0].get("labels", {}).get("owner", "")}


def run(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def others(found: Sized) -> str:
    """Return how many more there are."""
    return f", and {len(found) - 1} more" if len(found) > 1 else ""


class Handler(BaseHTTPRequestHandler):
    """Answers `GET /nodes/NODE`; 404 where nothing runs, so that the card says nothing."""

    def do_GET(self) -> None:
        """Answer a request."""
        asked = NODE.fullmatch(self.path)
        said = SOURCES[sys.argv[1]](asked[1]) if asked else {}
        body = json.dumps(said).encode()
        self.send_response(200 if said else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


SOURCES = {"slurm": slurm, "kubernetes": kubernetes}
if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 8765), Handler)
    print("Listening on port", server.server_port, flush=True)
    server.serve_forever()
