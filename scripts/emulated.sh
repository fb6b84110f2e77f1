#!/usr/bin/env bash
# Are the float32 bits those of an Intel processor with AVX-512, where there is none? Boots Debian's kernel in Bochs, an emulator that takes one
# instruction after another (of a Skylake-X), runs there the bin/gsmeval that lies here on the bundled model and data, and compares the samples
# with those of this processor. Nothing of this processor shows there: the kernel, libtorch and the kernels of gsmeval all see the Intel.
#
#   scripts/emulated.sh [QUESTIONS [LEVEL...]]    1 question with the best kernels there; a LEVEL is one of GSMEVAL_CPU_KERNELS, or best
#
# For Debian 12 or alike with the packages below (root gets them installed), 3 GB in $TMPDIR and bin/gsmeval of this machine. A lane of a fused
# multiply-add is computed in integers, so samples end after TOKENS tokens (16), which takes nine minutes on an AMD EPYC beside other work.
# CONFIG is another config; BOCHS another program, without the debugger that Debian's has and with nogui (configured with --enable-x86-64
# --enable-avx --enable-evex --with-nogui).
set -euo pipefail
cd "$(dirname "$0")/.."
questions=${1:-1} levels=(best)
[ $# -lt 2 ] || levels=("${@:2}")
say() { echo "emulated: $*" >&2; }
[ -x bin/gsmeval ] || { say "there is no bin/gsmeval: make build"; exit 1; }
missing=()
for p in bochs bochs-term busybox-static cpio e2fsprogs genisoimage isolinux kmod syslinux-common; do
  dpkg -s "$p" > /dev/null 2>&1 || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { say "install ${missing[*]}"; exit 1; }
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "the kernel, and what reads an IDE disk"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: *\(linux-image-[0-9].*\)/\1/p' | head -1)
version=${package#linux-image-}
(cd "$work" && apt-get download -qq "$package" 2> /dev/null && dpkg-deb -x "$package"_*.deb kernel)
depmod -b "$work/kernel" "$version"
mkdir -p "$work"/initrd/{bin,dev,disk,modules,proc,sys} "$work/iso"
n=100
for m in $({ for m in ata_piix sd_mod ext4; do modprobe -d "$work/kernel" -S "$version" --show-depends "$m"; done; } | awk '$1 == "insmod" && !had[$2]++ { print $2 }'); do
  cp "$m" "$work/initrd/modules/$((n++)).ko"
done
cp /bin/busybox "$work/initrd/bin/"
cat > "$work/initrd/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in /modules/*.ko; do insmod $m; done
until [ -b /dev/sda ]; do sleep 0.1; done
mount -t ext4 /dev/sda /disk
for d in proc sys dev; do mount --bind /$d /disk/$d; done
ip link set lo up
chroot /disk /bin/sh /job
umount /disk/proc /disk/sys /disk/dev /disk
poweroff -f
INIT
chmod +x "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/iso/initrd"
cp "$work/kernel/boot/vmlinuz-$version" "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/"
# Bochs 2.7 gives a wrong size for the compacted area of XSAVE, for which the kernel would take AVX away.
echo 'DEFAULT vmlinuz initrd=initrd console=ttyS0 quiet noxsaves clearcpuid=xsavec mitigations=off tsc=reliable no_timer_check' > "$work/iso/isolinux.cfg"
genisoimage -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso"

say "the disk: program, libraries, model and data"
root=$work/root
mkdir -p "$root"/{bin,dev,lib64,proc,sys,tmp,out,g/bin,g/lib}
cp /bin/busybox "$root/bin/sh"
strip -o "$root/g/bin/gsmeval" bin/gsmeval
ldd bin/gsmeval | awk '$3 ~ "^/" { print $3 }' | xargs -I{} cp -L {} "$root/g/lib/"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
cp -r configs data models "$root/g/"
# Every row of a step costs its time, also one that no question fills; and samples do not depend on the size of the batch.
run=(run "${CONFIG:-configs/first_light.yaml}" --set "dataset.limit=$questions" --set "generation.batch_size=$questions" \
  --set "generation.max_new_tokens=${TOKENS:-16}" --set progress=none)
echo 'export HOME=/tmp LD_LIBRARY_PATH=/g/lib; cd /g; bin/gsmeval doctor' > "$root/job"
for level in "${levels[@]}"; do
  echo "GSMEVAL_CPU_KERNELS=${level#best} bin/gsmeval ${run[*]} --set output=/out/$level > /tmp/log 2>&1; echo $level: exit code \$?" >> "$root/job"
done
truncate -s 1500M "$work/disk.img"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$work/disk.img"
cat > "$work/bochsrc" <<RC
display_library: $([ -n "${BOCHS:-}" ] && echo nogui || echo term)
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, ips=200000000
memory: guest=2048, host=2048
boot: cdrom
ata0-master: type=disk, path=$work/disk.img, mode=flat
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata1-master: type=cdrom, path=$work/boot.iso, status=inserted
com1: enabled=1, mode=file, dev=$work/console
log: $work/log
panic: action=fatal
RC

say "$questions questions here"
bin/gsmeval "${run[@]}" --set output="$work/here" > /dev/null
say "and there:"
touch "$work/console" "$work/said"
tail -f "$work/console" >&2 & tail=$!
if [ -n "${BOCHS:-}" ]; then
  "$BOCHS" -q -f "$work/bochsrc" > "$work/said" 2>&1 < /dev/null || true # powered off, it ends with 1
else
  echo c > "$work/go" # it begins in its debugger, which is told to go on, and its screen is a terminal of its own, which somebody must read
  TERM=xterm bochs -q -f "$work/bochsrc" -rc "$work/go" > "$work/said" 2>&1 < /dev/null & bochs=$!
  until screen=$(grep -ao '/dev/pts/[0-9]*' "$work/said") || ! kill -0 "$bochs" 2> /dev/null; do sleep 1; done
  [ -z "$screen" ] || cat "$screen" > /dev/null 2>&1 &
  wait "$bochs" || true
fi
kill "$tail"

# What names the build and the machine is left out, as in .ci/run.
digest() { sed -E 's/"run":"[0-9a-f]*",//; s/,"crc":"[0-9a-f]*"\}$/}/' "$1/samples.jsonl" | sha256sum | cut -d' ' -f1; }
debugfs -R "rdump /out $work" "$work/disk.img" 2> /dev/null
here=$(digest "$work/here") differ=0
echo "emulated: $here here: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)"
for level in "${levels[@]}"; do
  there=$(digest "$work/out/$level") || { say "$level did not run: the console above says why"; exit 1; }
  echo "emulated: $there there: $level; $(grep -ao 'CPU kernels [^,]*' "$work/console" | head -1)"
  [ "$there" = "$here" ] || differ=1
done
exit "$differ"
