"""Queries: the list of a hub's devices, page by page."""

import pathlib
from typing import Any

from aiohttp import web
from hub_lab import Lab, odd_server

from edgeherd.hub.azure import ANSWER_BYTES
from edgeherd.hub.port import Listed
from edgeherd_sim.hub import tls

IDS = [f"press-{number:05}" for number in range(10_000)]


def twin(device_id: str) -> dict[str, Any]:
    """What the list shows of a device; the first twins are large."""
    tags = {"note": "x" * (12 * 1024 if device_id < "press-00200" else 0)}
    return {"deviceId": device_id, "status": "enabled", "authenticationType": "sas", "tags": tags}


async def test_a_large_hub_is_listed_whole(lab: Lab, tmp_path: pathlib.Path) -> None:
    """Ten thousand devices are a hundred pages, two of them larger than other answers may be; then come the modules."""
    pages = [[twin(device_id) for device_id in IDS[at : at + 100]] for at in range(0, len(IDS), 100)]
    modules = [[{"deviceId": device_id} for device_id in IDS[:100]]] * 2
    texts = [web.json_response(page).text or "" for page in (*pages, *modules)]
    assert [len(text) for text in texts if len(text) > ANSWER_BYTES] == [len(texts[0]), len(texts[1])]
    last = {len(pages) - 1, len(texts) - 1}
    asked: list[int] = []

    def answer() -> web.Response:
        asked.append(len(asked))
        headers = {} if asked[-1] in last else {"x-ms-continuation": str(asked[-1])}
        return web.Response(text=texts[asked[-1]], content_type="application/json", headers=headers)

    certificate = tls.prepare(tmp_path, ("localhost",))
    async with odd_server(certificate.context, answer) as port:
        found = await lab.open(port=port, ca_file=str(certificate.ca_file)).edge_devices()
    assert found == tuple(
        Listed(
            device_id=device_id,
            enabled=True,
            authentication="sas",
            connected=False,
            last_activity="",
            modules=2 if device_id in IDS[:100] else 0,
            tags=("note",),
        )
        for device_id in IDS
    )
