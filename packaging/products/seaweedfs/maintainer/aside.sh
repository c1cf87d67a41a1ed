# Whether an erasure has put edited files aside, on a host that has not been set up again since (`weed-instances apply`
# enables instances). Instances with the defaults would be others than this host had, and without its secrets.
put_aside() {
    ! ls -d /etc/systemd/system/weed-*.target.wants >/dev/null 2>&1 || return 1
    aside=
    for file in /etc/default/weed/*.rpmsave; do
        if [ -e "$file" ]; then
            aside=yes
            say "$file is from an earlier installation: run 'mv $file ${file%.rpmsave}', or remove it"
        fi
    done
    [ -n "$aside" ]
}
