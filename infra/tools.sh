# shellcheck shell=bash
# Functions of the recipes that build programs for other machines: messages, and tools that apt
# installs. A script sources this file from the root of the checkout.
#
# Sets `target`, the folder for build output, and `tools`, the folder for installed tools.

# A failed command ends a command substitution, too: without this option, `path=$(build)` would go
# on after a failed build.
shopt -s inherit_errexit

# The exit code of a recipe if a necessary tool is unavailable on this machine.
readonly unavailable=77

target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$PWD/$target
readonly tools=$target/tools

say() {
  printf '%s\n' "$*" >&2
}

# give_up REASON: exits with the code for an unavailable tool.
give_up() {
  say "$*"
  exit "$unavailable"
}

# with_remapped_paths COMMAND…: runs a build command, so that programs name no folder of this machine.
# Two builds in different folders then give the same programs.
with_remapped_paths() {
  local -r cargo_home=${CARGO_HOME:-$HOME/.cargo}
  # The last matching prefix counts.
  RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/packcast --remap-path-prefix=$target=/target --remap-path-prefix=$cargo_home=/cargo" \
    CFLAGS="${CFLAGS:-} -ffile-prefix-map=$PWD=/packcast -ffile-prefix-map=$target=/target -ffile-prefix-map=$cargo_home=/cargo" \
    "$@"
}

## Debian packages

# as_root COMMAND…
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# Prints the reason if apt cannot install packages on this machine; nothing otherwise.
why_no_apt() {
  if ! command -v apt-get >/dev/null; then
    echo "apt-get is missing"
  elif [[ $(id -u) != 0 ]] && ! sudo -n true 2>/dev/null; then
    echo "the user is not root, and sudo asks for a password"
  fi
}

# need_apt TOOL: updates apt's package lists unless they are less than a day old.
need_apt() {
  local why lists=$tools/apt-lists
  why=$(why_no_apt)
  [[ -z $why ]] || give_up "cannot install $1: $why"
  [[ -z $(find "$lists" -mtime -1 2>/dev/null) ]] || return 0
  as_root apt-get update -q -q >&2
  mkdir -p "$tools"
  touch "$lists"
}

# need PROGRAM PACKAGE…: installs the packages if the program is missing.
need() {
  local program=$1
  shift
  ! command -v "$program" >/dev/null || return 0
  need_apt "$program"
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q -q --no-install-recommends \
    "$@" >/dev/null || give_up "cannot install $program: apt failed to install $*"
}

# print_size FILE
print_size() {
  local hundredths=$(($(stat -c %s "$1") / 10000))
  printf '%d.%02d MB  %s\n' $((hundredths / 100)) $((hundredths % 100)) "${1#"$PWD"/}"
}
