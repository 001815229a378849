# shellcheck shell=bash
# For scripts that build an initramfs: how the agent is compiled. Sourced; expects its sources in the folder
# $here.
# shellcheck disable=SC2154

# The parts of the agent.
agent=(agent.c answer.c boot.c clocks.c copy.c host.c inspect.c launch.c links.c loop.c machine.c outlets.c
    programs.c requests.c slots.c text.c waits.c wire.c)

# compile_agent OUT. Static, since nothing is there yet when it starts.
compile_agent() {
    gcc -std=c11 -O2 -static -s -Wall -Wextra -Wl,--build-id=none -o "$1" "${agent[@]/#/$here/}"
}
