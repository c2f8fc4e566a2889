# What a row does, for /bin/busybox sh: the same lines run in guests and, for comparison, on the host.
# $B is busybox, $P the folder of the programs, $T a folder for files; each function gets a row's name and its scale.

# Makes what the row reads; not measured.
prepare() {
  case $1 in
    t_sha256) $B head -c $((671088 * $2)) /dev/zero >$T/input ;;
    t_gzip) $P/gen $((200000 * $2)) >$T/input ;;
    t_bzip2) $P/gen $((80000 * $2)) >$T/input ;;
    t_sort) $P/gen -l $((5000 * $2)) >$T/input ;;
  esac
}

# Does the row's work and prints its result.
measured() {
  case $1 in
    t_sha256) $B sha256sum <$T/input ;;
    t_gzip) $B gzip -9 -c $T/input | $B wc -c ;;
    t_bzip2) $B bzip2 -c $T/input | $B wc -c ;;
    t_awk) $B awk -v n=$((20000 * $2)) 'BEGIN { for (i = 1; i <= n; i++) { s += 1 / (i * i); a[i % 100] = s * i } printf "%.12f %.6f\n", s, a[7] }' ;;
    t_sort) $B sort $T/input | $B md5sum ;;
    *) $P/$1 $2 ;;
  esac
}
