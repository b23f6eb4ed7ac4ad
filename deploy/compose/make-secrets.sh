#!/bin/sh
# Makes what compose.yaml needs in ./secrets: keys, passwords, and a private CA
# with certificates for the connections inside. What is there stays as it is.
#
#   sudo ./make-secrets.sh [public host name]
#
# Keep a copy of secrets/seal.key and secrets/pseudonyms.key somewhere else:
# without them nobody can open what the receivers sealed.
set -eu
cd "$(dirname "$0")"
host=${1:-localhost}
mkdir -p secrets
cd secrets
umask 077

# random FILE COMMAND...: the output of a command, whole or not at all.
random() {
	file=$1
	shift
	[ -e "$file" ] && return
	"$@" >"$file.new"
	mv "$file.new" "$file"
}

# certificate NAME SUBJECT-ALTERNATIVE-NAMES: NAME.pem and NAME.key, by our CA.
certificate() {
	[ -e "$1.pem" ] && return
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
	printf '%s\n' "subjectAltName=$2" 'basicConstraints=critical,CA:FALSE' \
		'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth,clientAuth' >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days 825 \
		-extfile "$1.ext" -out "$1.new" 2>/dev/null
	mv "$1.new" "$1.pem"
	rm "$1.csr" "$1.ext"
}

if [ ! -e ca.pem ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
		-subj '/CN=Postern, inside' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
		-keyout ca.key -out ca.new 2>/dev/null
	mv ca.new ca.pem
fi
inside='DNS:localhost,IP:127.0.0.1'
certificate nats "DNS:nats-1,DNS:nats-2,DNS:nats-3,$inside"
certificate ops "DNS:postern-1,DNS:postern-2,$inside"

# Amazon SNS delivers only to a certificate that the public trusts: put yours
# here, with its chain and its key. This one is for trying.
if [ ! -e public.pem ]; then
	certificate trial "DNS:$host,$inside"
	cat trial.pem trial.key >public.pem
	rm trial.pem trial.key
fi

random seal.key openssl rand -base64 32
random pseudonyms.key openssl rand -base64 32
random ops.token openssl rand -hex 24
for user in system receiver operator ledger; do
	random "nats-$user.password" openssl rand -hex 24
done
random grafana.password openssl rand -hex 16
for user in SYSTEM RECEIVER OPERATOR LEDGER; do
	name=$(printf %s "$user" | tr A-Z a-z)
	printf '%s_PASSWORD: "%s"\n' "$user" "$(cat "nats-$name.password")"
done >nats-passwords.conf

# Each file belongs to the user in whose container it is read, who is root only
# for NATS, whose image knows no other. ca.key stays with root.
chmod 0600 ./*
chmod 0644 ca.pem
if [ "$(id -u)" = 0 ]; then
	chown 0:0 ./*
	chown 65532:65532 seal.key pseudonyms.key ops.token ops.pem ops.key nats-receiver.password public.pem
	chown 472:0 grafana.password
else
	echo 'Not root: the containers will not be able to read the secrets. Run this with sudo.' >&2
fi
