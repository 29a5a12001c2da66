# shellcheck shell=bash
# The option --help of scripts.

# help_if_asked SCRIPT ARGUMENT…: prints the comment at the top of the script and exits, if the first
# argument asks for help.
help_if_asked() {
  [[ ${2:-} == --help || ${2:-} == -h ]] || return 0
  sed -n '2,/^[^#]/ { /^# shellcheck/d; s/^# \{0,1\}//p; }' "$1"
  exit 0
}
