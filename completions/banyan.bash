# SPDX-License-Identifier: Apache-2.0
# Completion of banyan for bash.
_banyan() {
    local current=${COMP_WORDS[COMP_CWORD]} line=" ${COMP_WORDS[*]:1:COMP_CWORD-1} "
    case "$line" in
    *" store append "*) COMPREPLY=($(compgen -W "--data --config --json --expect --id --meta --bytes --help" -- "$current")) ;;
    *" store archive "*) COMPREPLY=($(compgen -W "--data --config --json --before --help" -- "$current")) ;;
    *" store backup "*) COMPREPLY=($(compgen -W "--data --config --json --copy --help" -- "$current")) ;;
    *" store bench "*) COMPREPLY=($(compgen -W "--data --config --json --writers --batch --size --seconds --help" -- "$current")) ;;
    *" store check-proof "*) COMPREPLY=($(compgen -f -W "--public-key --json --help" -- "$current")) ;;
    *" store create "*) COMPREPLY=($(compgen -W "--data --config --json --help" -- "$current")) ;;
    *" store export "*) COMPREPLY=($(compgen -W "--data --config --json --out --format --codec --from --help" -- "$current")) ;;
    *" store import "*) COMPREPLY=($(compgen -W "--data --config --json --dry-run --help" -- "$current")) ;;
    *" store keygen "*) COMPREPLY=($(compgen -f -W "--help" -- "$current")) ;;
    *" store prove "*) COMPREPLY=($(compgen -W "--data --config --json --head --heads --output --help" -- "$current")) ;;
    *" store sign "*) COMPREPLY=($(compgen -W "--data --config --json --key --help" -- "$current")) ;;
    *" store restore "*) COMPREPLY=($(compgen -W "--data --config --json --position --time --help" -- "$current")) ;;
    *" store mark "*) COMPREPLY=($(compgen -W "--data --config --json --from --clear --help" -- "$current")) ;;
    *" store read "*) COMPREPLY=($(compgen -W "--data --config --json --from --since --limit --type --category --help" -- "$current")) ;;
    *" store tail "*) COMPREPLY=($(compgen -W "--data --config --json --limit --follow --help" -- "$current")) ;;
    *" store stats "*) COMPREPLY=($(compgen -W "--data --config --json --help" -- "$current")) ;;
    *" store verify "*) COMPREPLY=($(compgen -W "--data --config --json --public-key --heads --resume --memory --list --help" -- "$current")) ;;
    *" store "*) COMPREPLY=($(compgen -W "append archive backup bench check-proof create export import keygen mark prove read restore sign stats tail verify" -- "$current")) ;;
    *" schema register "*) COMPREPLY=($(compgen -f -W "--version --data --config --json --help" -- "$current")) ;;
    *" schema check "*) COMPREPLY=($(compgen -f -W "--data --config --json --help" -- "$current")) ;;
    *" schema list "*) COMPREPLY=($(compgen -W "--data --config --json --help" -- "$current")) ;;
    *" schema show "*) COMPREPLY=($(compgen -W "--version --data --config --json --help" -- "$current")) ;;
    *" schema compatibility "*) COMPREPLY=($(compgen -W "NONE BACKWARD BACKWARD_TRANSITIVE FORWARD FORWARD_TRANSITIVE FULL FULL_TRANSITIVE --data --config --json --help" -- "$current")) ;;
    *" schema freeze "*) COMPREPLY=($(compgen -W "--data --config --json --help" -- "$current")) ;;
    *" schema thaw "*) COMPREPLY=($(compgen -W "--data --config --json --help" -- "$current")) ;;
    *" schema "*) COMPREPLY=($(compgen -W "register check list show compatibility freeze thaw" -- "$current")) ;;
    *" migrate lint "*) COMPREPLY=($(compgen -f -W "--conninfo --format --help" -- "$current")) ;;
    *" migrate explain-lock "*) COMPREPLY=($(compgen -W "--conninfo --format --help" -- "$current")) ;;
    *" migrate plan "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --help" -- "$current")) ;;
    *" migrate rehearse "*) COMPREPLY=($(compgen -f -W "--conninfo --json --rows --old --new --dump --allow --help" -- "$current")) ;;
    *" migrate start "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --lock-timeout --give-up --kill-idle-blockers --batch-time --max-replica-lag --replica --max-kept-wal --max-lock-waiters --max-active --throttle-file --throttle-query --dry-run --complete --cleanup --help" -- "$current")) ;;
    *" migrate complete "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --lock-timeout --give-up --kill-idle-blockers --batch-time --max-replica-lag --replica --max-kept-wal --max-lock-waiters --max-active --throttle-file --throttle-query --dry-run --help" -- "$current")) ;;
    *" migrate rollback "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --lock-timeout --give-up --kill-idle-blockers --batch-time --max-replica-lag --replica --max-kept-wal --max-lock-waiters --max-active --throttle-file --throttle-query --dry-run --to-ready --help" -- "$current")) ;;
    *" migrate cleanup "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --lock-timeout --give-up --kill-idle-blockers --batch-time --max-replica-lag --replica --max-kept-wal --max-lock-waiters --max-active --throttle-file --throttle-query --dry-run --help" -- "$current")) ;;
    *" migrate status "*) COMPREPLY=($(compgen -f -W "--conninfo --json --watch --help" -- "$current")) ;;
    *" migrate pause "*) COMPREPLY=($(compgen -f -W "--conninfo --json --help" -- "$current")) ;;
    *" migrate resume "*) COMPREPLY=($(compgen -f -W "--conninfo --json --allow --lock-timeout --give-up --kill-idle-blockers --batch-time --max-replica-lag --replica --max-kept-wal --max-lock-waiters --max-active --throttle-file --throttle-query --help" -- "$current")) ;;
    *" migrate history "*) COMPREPLY=($(compgen -f -W "--conninfo --json --help" -- "$current")) ;;
    *" migrate "*) COMPREPLY=($(compgen -W "lint explain-lock plan rehearse start complete rollback cleanup status pause resume history" -- "$current")) ;;
    *" projection list "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection show "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection rebuild "*) COMPREPLY=($(compgen -W "--config --json --wait --help" -- "$current")) ;;
    *" projection cancel "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection rollback "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection drop "*) COMPREPLY=($(compgen -W "--config --json --generation --help" -- "$current")) ;;
    *" projection pause "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection resume "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection limit "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection asides "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" projection retry "*) COMPREPLY=($(compgen -W "--config --json --key --stream --help" -- "$current")) ;;
    *" projection "*) COMPREPLY=($(compgen -W "list show rebuild cancel rollback drop pause resume limit asides retry" -- "$current")) ;;
    *" query "*) COMPREPLY=($(compgen -W "--config --json --table --search --query --limit --help" -- "$current")) ;;
    *" init "*) COMPREPLY=($(compgen -W "--conninfo --domain --output --force --dry-run --help" -- "$current")) ;;
    *" legacy check "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" legacy "*) COMPREPLY=($(compgen -W "check" -- "$current")) ;;
    *" serve "*) COMPREPLY=($(compgen -W "--config --json --port-file --gateway-port-file --until-backfilled --help" -- "$current")) ;;
    *" rollout status "*) COMPREPLY=($(compgen -W "--config --json --watch --help" -- "$current")) ;;
    *" rollout plan "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" rollout start "*) COMPREPLY=($(compgen -W "--config --json --dry-run --force --reason --wait --help" -- "$current")) ;;
    *" rollout next "*) COMPREPLY=($(compgen -W "--config --json --dry-run --force --reason --wait --max-pause --help" -- "$current")) ;;
    *" rollout pause "*) COMPREPLY=($(compgen -W "--config --json --dry-run --reason --help" -- "$current")) ;;
    *" rollout resume "*) COMPREPLY=($(compgen -W "--config --json --dry-run --reason --help" -- "$current")) ;;
    *" rollout rollback "*) COMPREPLY=($(compgen -W "--config --json --dry-run --reason --wait --max-pause --help" -- "$current")) ;;
    *" rollout complete "*) COMPREPLY=($(compgen -W "--config --json --dry-run --force --reason --help" -- "$current")) ;;
    *" rollout history "*) COMPREPLY=($(compgen -W "--config --json --from --limit --help" -- "$current")) ;;
    *" rollout "*) COMPREPLY=($(compgen -W "status plan start next pause resume rollback complete history" -- "$current")) ;;
    *" status "*) COMPREPLY=($(compgen -W "--config --json --watch --help" -- "$current")) ;;
    *" verify "*) COMPREPLY=($(compgen -W "--config --json --view --range-rows --timeout --help" -- "$current")) ;;
    *" process list "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" process status "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" process retry "*) COMPREPLY=($(compgen -W "--config --json --help" -- "$current")) ;;
    *" process "*) COMPREPLY=($(compgen -W "list status retry" -- "$current")) ;;
    *" token create "*) COMPREPLY=($(compgen -W "--config --json --role --file --help" -- "$current")) ;;
    *" token list "*) COMPREPLY=($(compgen -W "--config --json --file --help" -- "$current")) ;;
    *" token revoke "*) COMPREPLY=($(compgen -W "--config --json --file --help" -- "$current")) ;;
    *" token "*) COMPREPLY=($(compgen -W "create list revoke" -- "$current")) ;;
    *" stream read "*) COMPREPLY=($(compgen -W "--config --json --from --limit --offline --help" -- "$current")) ;;
    *" stream "*) COMPREPLY=($(compgen -W "read" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "init legacy serve status verify migrate projection rollout query process token stream schema store --help --version" -- "$current")) ;;
    esac
}
complete -o default -F _banyan banyan
