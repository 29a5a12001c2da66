# shellcheck shell=bash
# What infra/deploy and infra/destroy know of a target: its stack, its place in packcast.toml.

if ((BASH_VERSINFO[0] < 5)); then
  echo "this takes bash 5 or later, and is run by $BASH_VERSION: on macOS, 'brew install bash'" >&2
  exit 1
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
config=${PACKCAST_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/packcast/packcast.toml}
[[ $config == /* ]] || config=$PWD/$config
config_dir=$(dirname "$config")
readonly config config_dir
# What is run from another folder finds the same.
[[ -z ${PACKCAST_CONFIG:-} ]] || export PACKCAST_CONFIG=$config
[[ ${CARGO_TARGET_DIR:-/} == /* ]] || export CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR

say() {
  printf '%s\n' "$*" >&2
}

fail() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

# step WHAT COMMAND…: runs it, and says how long it took.
step() {
  local what=$1 began=${EPOCHREALTIME/[.,]/} tenths
  shift
  "$@"
  tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
  printf '%5d.%d s  %s\n' "$((tenths / 10))" "$((tenths % 10))" "$what" >&2
}

name='' stack='' secrets='' parameters='' outputs=''
region='' endpoint='' account=''

# take_name NAME USAGE: puts it, and what follows from it.
take_name() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,19}$ ]] ||
    fail 2 "a NAME is 1 to 20 lower-case letters, digits and '-', a letter first; $2"
  [[ $1 != local ]] || fail 2 "local is the target of 'packcast local'; $2"
  name=$1
  stack=packcast-$1
  # shellcheck disable=SC2034 # those who source this use it
  secrets=$config_dir/$1.secrets
}

# take_place: puts region and endpoint, as given or as the target has them. A target never moves.
take_place() {
  local known
  known=$(target_value region)
  if [[ -n $known && -n $region && $known != "$region" ]]; then
    fail 2 "target $name is in $known: leave out --region, or take another NAME"
  fi
  region=${region:-$known}
  endpoint=${endpoint:-$(target_value endpoint)}
}

# use_cloud: sets the AWS CLI up for the region, or for an engine.
use_cloud() {
  command -v aws >/dev/null || fail 1 "the AWS CLI is missing: see https://aws.amazon.com/cli"
  # What is throttled or unavailable for a while is asked again, with growing, random pauses.
  export AWS_RETRY_MODE=${AWS_RETRY_MODE:-standard} AWS_MAX_ATTEMPTS=${AWS_MAX_ATTEMPTS:-6}
  if [[ -n $endpoint ]]; then
    endpoint=${endpoint%/}
    region=${region:-us-east-1}
    export AWS_ENDPOINT_URL=$endpoint AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    export NO_PROXY=127.0.0.1,localhost
    unset AWS_PROFILE AWS_SESSION_TOKEN
  fi
  region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}}
  [[ -n $region ]] || fail 2 "no region is set: give --region, or run 'aws configure'"
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
}

# read_account: puts the account's number, which takes credentials that work.
read_account() {
  local answer
  if answer=$(aws sts get-caller-identity --query Account --output text 2>&1); then
    account=$answer
    return
  fi
  say "$answer"
  case $answer in
    *"Could not connect"* | *"onnect timeout"* | *"nvalid endpoint"* | *"supported format"*)
      fail 1 "nothing answers as ${endpoint:-AWS in $region}: check the region's name and the connection"
      ;;
    *InvalidClientTokenId*)
      fail 1 "AWS does not know these credentials in $region: check the profile, and whether the" \
        "account has the region enabled"
      ;;
    *) fail 1 "AWS does not know who asks: choose a profile with AWS_PROFILE, or run" \
      "'aws login', 'aws sso login' or 'aws configure'" ;;
  esac
}

# stack_status: prints the stack's status, nothing if there is none.
stack_status() {
  local answer
  if answer=$(aws cloudformation describe-stacks --stack-name "$stack" \
    --query 'Stacks[0].StackStatus' --output text 2>&1); then
    echo "$answer"
  elif [[ $answer != *"does not exist"* ]]; then
    fail 1 "$answer"
  fi
}

# read_parameters: asks what the stack was deployed with, which parameter NAME prints from then on.
read_parameters() {
  parameters=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query 'Stacks[0].Parameters[].[ParameterKey, ParameterValue]')
}

parameter() {
  value_of "$1" <<<"$parameters"
}

# read_outputs: asks for the stack's outputs, which output NAME prints from then on.
read_outputs() {
  outputs=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]')
}

output() {
  value_of "$1" <<<"$outputs"
}

# value_of KEY: prints what standard input has behind it.
value_of() {
  awk -F '\t' -v key="$1" '$1 == key { print $2 }'
}

# has_bucket BUCKET: whether it is there, and the account's own.
has_bucket() {
  [[ -n $1 ]] && aws s3api head-bucket --bucket "$1" --expected-bucket-owner "$account" >/dev/null 2>&1
}

# engine_has_cdn: whether what stands in for AWS serves distributions.
engine_has_cdn() {
  curl --silent --fail --output /dev/null "$endpoint/_ministack/health"
}

packcast() {
  if [[ -n ${PACKCAST_PROGRAM:-} ]]; then
    "$PACKCAST_PROGRAM" "$@"
  elif type -P packcast >/dev/null; then
    command packcast "$@"
  else
    (cd "$root" && cargo run --quiet --release -- "$@")
  fi
}

# write_target KEY=VALUE…: puts the target's section into packcast.toml, or takes it out if
# nothing is given. Keys of the administrator's own stay in a section that stays.
write_target() {
  mkdir -p "$config_dir"
  python3 - "$config" "$name" "$@" <<'PYTHON'
import json, os, re, sys
path, name, *pairs = sys.argv[1:]
values = dict(pair.split("=", 1) for pair in pairs)
lines = open(path).read().splitlines() if os.path.exists(path) else []
heading = f"[target.{name}]"
is_heading = lambda line: line.split("#")[0].strip() == heading
section, before, after = [], [], []
kept = before
for line in lines:
    if is_heading(line):
        kept = section
        continue
    if kept is section and line.lstrip().startswith("["):
        kept = after
    kept.append(line)
is_ours = lambda line: (m := re.match(r"\s*([a-z_0-9]+)\s*=", line)) and m[1] in values
if values:
    is_plain = lambda value: value in ("true", "false") or value.isdigit()
    say = lambda value: value if is_plain(value) else json.dumps(value)
    ours = [f"{key} = {say(value)}" for key, value in values.items() if value]
    theirs = [line for line in section if line.strip() and not is_ours(line)]
    blank = [""] if before and before[-1].strip() else []
    before += blank + [heading, *ours, *theirs] + ([""] if after else [])
with open(path + ".new", "w") as file:
    file.write("".join(line + "\n" for line in before + after))
os.replace(path + ".new", path)
PYTHON
}

# target_value KEY: prints what packcast.toml has of the target, nothing if it has not.
target_value() {
  local string="[\"']\([^\"']*\)[\"']"
  [[ ! -e $config ]] ||
    sed -n "/^ *\[target\.$name\]/,/^ *\[/s/^ *$1 *= *$string *\(#.*\)*\$/\1/p" "$config"
}
