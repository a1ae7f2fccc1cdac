"""The pages and scripts that the server hands to browsers, found as a browser finds them."""

import re

import httpx

from harness.server import Server

#: Where a browser may begin. What is not built yet answers 404 and is passed over.
ENTRANCES = ("/demo/", "/admin/", "/chat/", "/widget.js", "/sdk/replyx.js")


def pages(server: Server) -> dict[str, httpx.Response]:
    found = {path: server.http.get(path) for path in ENTRANCES}
    assert found["/demo/"].status_code == 200
    return {path: answer for path, answer in found.items() if answer.status_code == 200}


def sources(server: Server) -> dict[str, str]:
    """Every page with all scripts that it loads, however deep."""
    read = {path: page.text for path, page in pages(server).items()}
    waiting = list(read)
    while waiting:
        path = waiting.pop()
        for named in re.findall(r"""(?:<script[^>]+src=|from |import\(?)["']([^"']+)["']""", read[path]):
            script = httpx.URL(server.url + path).join(named)
            if script.host == httpx.URL(server.url).host and script.path not in read:
                answer = server.http.get(script)
                assert answer.status_code == 200, f"{path} loads {script.path}: {answer.status_code}"
                read[script.path] = answer.text
                waiting.append(script.path)
    assert len(read) > 5, read.keys()
    return read


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    """The Content-Security-Policy: what each directive allows. More than one header would be an intersection nobody reads."""
    said = answer.headers.get_list("content-security-policy")
    assert len(said) == 1, f"{answer.url}: {said}"
    parts = [part.split() for part in said[0].split(";") if part.strip()]
    assert len({part[0].lower() for part in parts}) == len(parts), f"a directive twice: {said[0]}"
    return {part[0].lower(): part[1:] for part in parts}
