# native.sh STEP NAME SCALE, under busybox sh: one step (prepare or measured) of a row, on the host.
. ${0%/*}/rows.sh
$1 $2 $3
