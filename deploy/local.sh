#!/usr/bin/env bash
# One store for many machines without containers: PostgreSQL and an MLflow server under one folder,
# both on loopback. Prints what to export; see docs/SCALE_OUT.md.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: deploy/local.sh start DIR [--auth]    start both servers; their data stay in DIR
       deploy/local.sh env DIR               print the variables to export
       deploy/local.sh stop DIR              end both servers

--auth    MLflow asks for a user and a password too (needs pip install 'mlflow[auth]')

Environment: MLFLOW_PORT (5000), PGPORT (5432), PYTHON (python, of the suite's environment).
TEXT
}

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

command=${1:-} folder=${2:-} auth=${3:-}
case "$command" in start | stop | env) ;; -h | --help) usage; exit 0 ;; *) usage >&2; exit 2 ;; esac
[ -n "$folder" ] || fail "DIR: must be a folder, got nothing; e.g. deploy/local.sh $command ~/store" 2
[ -z "$auth" ] || [ "$auth" = --auth ] || fail "$auth: is no option; did you mean --auth?" 2

umask 077 # whatever is written below is for its owner alone
[ "$command" = start ] || [ -e "$folder/ports" ] || fail "DIR: nothing was ever started here, got $folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
data=$folder/postgresql passwords=$folder/pgpass login=$folder/mlflow-login
python=${PYTHON:-python}

# Where the servers listen is remembered, so that `env` and a later `start` say the same.
ports=$folder/ports
[ -e "$ports" ] ||
  echo "mlflow_port=${MLFLOW_PORT:-5000} postgresql_port=${PGPORT:-5432}" >"$ports"
mlflow_port='' postgresql_port=''
# shellcheck source=/dev/null
. "$ports"
address=postgresql://suite@127.0.0.1:$postgresql_port

programs() { # the folder with PostgreSQL's programs, which Debian keeps out of the PATH
  if command -v initdb >/dev/null; then
    dirname "$(readlink -f "$(command -v initdb)")"
  else
    find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -1
  fi
}
bin=$(programs)
[ -n "$bin" ] || fail "PostgreSQL: is not installed; apt install postgresql"

as_server() { # PostgreSQL refuses to be root
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

sql() { PGPASSFILE=$passwords "$bin/psql" --no-psqlrc -qtA -d "$address/postgres" -c "$1"; }

create() {
  local password
  password=$(secret)
  first=$(mktemp)
  trap 'rm -f "$first"' EXIT
  echo "$password" >"$first"
  if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || fail "PostgreSQL: does not run as root; create a user postgres"
    mkdir -p "$data"
    chown postgres "$data" "$first"
    chmod 711 "$folder"
    as_server test -x "$data" || fail "DIR: the user postgres must get there, got $folder; e.g. /srv/store"
  fi
  as_server "$bin/initdb" --pgdata "$data" --username suite --auth scram-sha-256 \
    --pwfile "$first" --encoding UTF8 --locale C >/dev/null
  echo "127.0.0.1:$postgresql_port:*:suite:$password" >"$passwords"
}

running() { as_server "$bin/pg_ctl" --pgdata "$data" status >/dev/null 2>&1; }

start_postgresql() {
  [ -e "$passwords" ] || create
  if ! running; then
    as_server "$bin/pg_ctl" --pgdata "$data" --wait --silent --log "$data/log.txt" \
      --options "-p $postgresql_port -h 127.0.0.1 -k ''" start >/dev/null ||
      fail "PostgreSQL: did not start (see $data/log.txt); is port $postgresql_port free? PGPORT chooses another in a new DIR"
  fi
  local name
  for name in mlflow optuna mlflow_login; do
    [ -n "$(sql "SELECT 1 FROM pg_database WHERE datname = '$name'")" ] || sql "CREATE DATABASE $name"
  done
}

ask_for_login() { # MLflow's own users; without this file their first password is a published one
  "$python" -c 'import flask_wtf' 2>/dev/null || fail "--auth: needs pip install 'mlflow[auth]'"
  [ -e "$login" ] || secret >"$login"
  [ -e "$folder/flask-key" ] || secret >"$folder/flask-key"
  cat >"$folder/login.ini" <<TEXT
[mlflow]
default_permission = EDIT
database_uri = $address/mlflow_login
admin_username = admin
admin_password = $(cat "$login")
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
TEXT
  export MLFLOW_AUTH_CONFIG_PATH=$folder/login.ini
  MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$folder/flask-key")
  export MLFLOW_FLASK_SERVER_SECRET_KEY
}

mlflow_runs() {
  [ -e "$folder/mlflow.pid" ] && kill -0 "$(cat "$folder/mlflow.pid")" 2>/dev/null
}

answers() { "$python" - "http://127.0.0.1:$mlflow_port/health" <<'TEXT'
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5)
except (urllib.error.URLError, OSError):
    sys.exit(1)
TEXT
}

start_mlflow() {
  if mlflow_runs; then return; fi
  local options=()
  if [ -n "$auth" ]; then
    ask_for_login
    options=(--app-name basic-auth)
  fi
  PGPASSFILE=$passwords setsid "$python" -m mlflow server --host 127.0.0.1 --port "$mlflow_port" \
    --backend-store-uri "$address/mlflow" --artifacts-destination "$folder/artifacts" \
    --serve-artifacts "${options[@]}" >"$folder/mlflow.txt" 2>&1 </dev/null &
  echo $! >"$folder/mlflow.pid"
  until answers; do
    mlflow_runs || fail "MLflow: did not start (see $folder/mlflow.txt); is port $mlflow_port free?"
    sleep 0.5
  done
}

stop_all() {
  if mlflow_runs; then
    kill -- "-$(cat "$folder/mlflow.pid")"
    while mlflow_runs; do sleep 0.1; done
  fi
  rm -f "$folder/mlflow.pid"
  if running; then as_server "$bin/pg_ctl" --pgdata "$data" --wait --silent --mode fast stop; fi
}

print_environment() {
  echo "export MLFLOW_TRACKING_URI=http://127.0.0.1:$mlflow_port"
  echo "export SUITE_STORAGE=$address/optuna"
  echo "export PGPASSFILE='$passwords'"
  if [ -e "$login" ]; then
    echo "export MLFLOW_TRACKING_USERNAME=admin"
    echo "export MLFLOW_TRACKING_PASSWORD=\"\$(cat '$login')\""
  fi
}

case "$command" in
start)
  start_postgresql
  start_mlflow
  print_environment
  ;;
stop) stop_all ;;
env) print_environment ;;
esac
