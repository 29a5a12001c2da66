# shellcheck shell=bash
# Shared functions of infra/deploy and infra/destroy: the stack of a target, and its section in
# packcast.toml.

if ((BASH_VERSINFO[0] < 5)); then
  echo "cannot run with bash $BASH_VERSION: install bash 5 or later (on macOS: brew install bash)" >&2
  exit 1
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
config=${PACKCAST_CONFIG:-${XDG_CONFIG_HOME:-$HOME/.config}/packcast/packcast.toml}
[[ $config == /* ]] || config=$PWD/$config
config_dir=$(dirname "$config")
readonly config config_dir
# Absolute paths, so that programs in other folders find the same files.
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

# step DESCRIPTION COMMAND…: runs the command, and prints its duration.
step() {
  local description=$1 began=${EPOCHREALTIME/[.,]/} tenths
  shift
  "$@"
  tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
  printf '%5d.%d s  %s\n' "$((tenths / 10))" "$((tenths % 10))" "$description" >&2
}

name='' stack='' secrets='' state_dir='' parameters='' outputs=''
region='' endpoint='' account=''

# take_name NAME USAGE: sets name, stack, secrets and state_dir.
take_name() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,19}$ ]] ||
    fail 2 "invalid NAME: expected 1 to 20 lower-case letters, digits and '-', starting with a letter; $2"
  [[ $1 != local ]] || fail 2 "reserved NAME: local is the target of 'packcast local'; $2"
  name=$1
  stack=packcast-$1
  # shellcheck disable=SC2034 # the scripts that source this file use it
  secrets=$config_dir/$1.secrets
  # shellcheck disable=SC2034
  state_dir=${XDG_STATE_HOME:-$HOME/.local/state}/packcast/$1
}

# take_place: sets region and endpoint, from the options or from the target. A target cannot move to
# another region.
take_place() {
  local known
  known=$(target_value region)
  if [[ -n $known && -n $region && $known != "$region" ]]; then
    fail 2 "target $name is in $known: omit --region, or choose another NAME"
  fi
  region=${region:-$known}
  endpoint=${endpoint:-$(target_value endpoint)}
}

# use_cloud: configures the AWS CLI for the region, or for an engine.
use_cloud() {
  command -v aws >/dev/null || fail 1 "cannot find the AWS CLI: see https://aws.amazon.com/cli"
  # The AWS CLI retries throttled and temporarily failed requests, with growing random pauses.
  export AWS_RETRY_MODE=${AWS_RETRY_MODE:-standard} AWS_MAX_ATTEMPTS=${AWS_MAX_ATTEMPTS:-6}
  if [[ -n $endpoint ]]; then
    endpoint=${endpoint%/}
    region=${region:-us-east-1}
    export AWS_ENDPOINT_URL=$endpoint AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
    export NO_PROXY=127.0.0.1,localhost
    unset AWS_PROFILE AWS_SESSION_TOKEN
  fi
  region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}}
  [[ -n $region ]] || fail 2 "cannot determine the region: pass --region, or run 'aws configure'"
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
}

# read_account: sets the number of the account, and fails without valid credentials.
read_account() {
  local answer
  if answer=$(aws sts get-caller-identity --query Account --output text 2>&1); then
    account=$answer
    return
  fi
  say "$answer"
  case $answer in
    *"Could not connect"* | *"onnect timeout"* | *"nvalid endpoint"* | *"supported format"*)
      fail 1 "cannot reach ${endpoint:-AWS in $region}: check the name of the region and the network connection"
      ;;
    *InvalidClientTokenId*)
      fail 1 "cannot sign in to AWS: $region does not accept these credentials; set AWS_PROFILE, or" \
        "enable the region in the account"
      ;;
    *) fail 1 "cannot sign in to AWS: no valid credentials; set AWS_PROFILE, or run 'aws login'," \
      "'aws sso login' or 'aws configure'" ;;
  esac
}

# stack_status: prints the status of the stack; nothing if the stack does not exist.
stack_status() {
  local answer
  if answer=$(aws cloudformation describe-stacks --stack-name "$stack" \
    --query 'Stacks[0].StackStatus' --output text 2>&1); then
    echo "$answer"
  elif [[ $answer != *"does not exist"* ]]; then
    fail 1 "cannot read the status of $stack: $answer"
  fi
}

# read_parameters: reads the parameters of the stack, for the function `parameter`.
read_parameters() {
  parameters=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query 'Stacks[0].Parameters[].[ParameterKey, ParameterValue]')
}

parameter() {
  value_of "$1" <<<"$parameters"
}

# read_outputs: reads the outputs of the stack, for the function `output`.
read_outputs() {
  outputs=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]')
}

output() {
  value_of "$1" <<<"$outputs"
}

# value_of KEY: prints the value of a key in standard input.
value_of() {
  awk -F '\t' -v key="$1" '$1 == key { print $2 }'
}

# has_bucket BUCKET: succeeds if the bucket exists and belongs to the account.
has_bucket() {
  [[ -n $1 ]] && aws s3api head-bucket --bucket "$1" --expected-bucket-owner "$account" >/dev/null 2>&1
}

# engine_has_cdn: succeeds if the engine serves CloudFront distributions.
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

# write_target KEY=VALUE…: writes the target's section in packcast.toml, and keeps keys that the
# administrator has added. Without values, removes the section.
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
is_written = lambda line: (m := re.match(r"\s*([a-z_0-9]+)\s*=", line)) and m[1] in values
if values:
    is_plain = lambda value: value in ("true", "false") or value.isdigit()
    quote = lambda value: value if is_plain(value) else json.dumps(value)
    written = [f"{key} = {quote(value)}" for key, value in values.items() if value]
    added = [line for line in section if line.strip() and not is_written(line)]
    blank = [""] if before and before[-1].strip() else []
    before += blank + [heading, *written, *added] + ([""] if after else [])
with open(path + ".new", "w") as file:
    file.write("".join(line + "\n" for line in before + after))
os.replace(path + ".new", path)
PYTHON
}

# target_value KEY: prints a value of the target's section; nothing if packcast.toml has none.
target_value() {
  local string="[\"']\([^\"']*\)[\"']"
  [[ ! -e $config ]] ||
    sed -n "/^ *\[target\.$name\]/,/^ *\[/s/^ *$1 *= *$string *\(#.*\)*\$/\1/p" "$config"
}
