#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""curl_page.py PAGE URL FOLDER TRADING   run the examples of a page as they are written and compare what they print.

A block of ```console has lines that begin with "$ " (and go on after a backslash), and behind them what they print.  Times, ids that the
server makes, and the length of bodies are compared as such; a line "…" stands for any lines."""
import os, re, subprocess, sys

page, url, folder, trading = sys.argv[1:5]
text = open(page).read()


def same(value):
    value = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", value)
    value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", value)
    value = re.sub(r"Content-Length: \d+", "Content-Length: N", value)
    return [line.rstrip() for line in value.replace("\r", "").strip("\n").split("\n")]


def fits(wanted, got):
    if not wanted:
        return not got
    if wanted[0] == "…":
        return any(fits(wanted[1:], got[i:]) for i in range(len(got) + 1))
    return bool(got) and wanted[0] == got[0] and fits(wanted[1:], got[1:])


bad = runs = 0
for block in re.findall(r"```console\n(.*?)```", text, re.S):
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        lines, command = part.split("\n"), []
        while True:
            command.append(lines.pop(0))
            if not command[-1].endswith("\\") and "\n".join(command).count("'") % 2 == 0:
                break
        command = "\n".join(command)
        done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60,
                              env={**os.environ, "BANYAN": url, "TRADING": trading})
        runs += 1
        wanted, got = same("\n".join(lines)), same(done.stdout)
        if not fits(wanted, got):
            bad += 1
            print(f"command: {command}\nwanted:\n  " + "\n  ".join(wanted) + "\ngot:\n  " + "\n  ".join(got), done.stderr)
print(f"{runs} examples, {bad} differ")
sys.exit(bad > 0 or runs == 0)
