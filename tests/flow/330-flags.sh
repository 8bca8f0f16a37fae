#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The flags of the rollout, evaluated by the real OpenFeature client (npm, pinned by flags/package-lock.json).
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

# installed FOLDER   the client in FOLDER, once for this lock file.
installed() {
    local folder=$1
    mkdir -p "$folder"
    cmp -s "$here/flags/package-lock.json" "$folder/installed" && return 0
    cp "$here/flags/package.json" "$here/flags/package-lock.json" "$folder/" &&
        (cd "$folder" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund) >"$work/npm.log" 2>&1 &&
        cp "$here/flags/package-lock.json" "$folder/installed"
}

client=$build/tests/flags-client
major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
if ! command -v npm >/dev/null || [ "${major:-0}" -lt 18 ]; then
    skip "the OpenFeature client" "node (18 or later: Debian's nodejs) and npm are not here"
    plan_done
fi
if ! (flock 9 && installed "$client") 9>"$client.lock"; then
    if grep -qE 'ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|network' "$work/npm.log"; then
        skip "the OpenFeature client" "the registry of npm cannot be reached"
    else
        not_ok "npm ci" "$(tail -5 "$work/npm.log")"
    fi
    plan_done
fi
cp "$here/flags/flags.mjs" "$client/"
timeout 120 node "$client/flags.mjs" "$build/tests/flow/flags_server" "$work/store"
