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

# locked NAME COMMAND…: runs a command that changes shared tools, when no other recipe has the lock of
# this name.
locked() {
  mkdir -p "$tools"
  (
    flock 9
    "${@:2}"
  ) 9>"$tools/$1.lock"
}

# remap FOLDER NAME: prints the option of rustc that replaces the folder in a program.
remap() {
  printf -- '--remap-path-prefix=%s=%s' "$1" "$2"
}

# compile COMMAND…: runs a build command for programs that are copied to other machines. The programs
# name no folder of this machine, so two builds in different folders give the same programs. Tests that
# run at the same time come first.
compile() {
  local folder rust=${RUSTFLAGS:-} c=${CFLAGS:-}
  # The last matching folder counts. Spaces separate flags, so a folder with a space keeps its name.
  for folder in "$PWD /packcast" "$target /target" "${CARGO_HOME:-$HOME/.cargo} /cargo"; do
    [[ $folder != *\ *\ * ]] || continue
    rust+=" $(remap "${folder% *}" "${folder#* }")"
    c+=" -ffile-prefix-map=${folder% *}=${folder#* }"
  done
  # Cargo would compile dependencies again after each commit if it saw the commit's time.
  RUSTFLAGS=$rust CFLAGS=$c nice -n 10 env -u SOURCE_DATE_EPOCH "$@"
}

## Debian packages

# as_root COMMAND…
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# apt_get ARGUMENT…: runs apt-get when no other recipe does. Waits for other programs that install
# packages, such as automatic upgrades.
apt_get() {
  locked apt as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -q -o DPkg::Lock::Timeout=600 "$@"
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
  apt_get update >&2
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
  apt_get install -y --no-install-recommends "$@" >/dev/null ||
    give_up "cannot install $program: apt failed to install $*"
}

# print_size FILE
print_size() {
  local hundredths=$(($(stat -c %s "$1") / 10000))
  printf '%d.%02d MB  %s\n' $((hundredths / 100)) $((hundredths % 100)) "${1#"$PWD"/}"
}
