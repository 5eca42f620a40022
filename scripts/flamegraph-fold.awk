# From what `perf script -F comm,ip,sym` prints to a line a stack: thread;outermost;…;innermost and how often it was seen.

function clean(name) {
    gsub(/::h[0-9a-f]+$/, "", name)
    gsub(/\+0x[0-9a-f]+$/, "", name)
    gsub(/\{\{closure\}\}/, "{}", name)
    # What is between angle brackets tells types, mostly long ones.
    while (match(name, /<[^<>]*>/)) {
        inside = substr(name, RSTART + 1, RLENGTH - 2)
        sub(/^.* as /, "", inside)
        if (RSTART > 1) inside = ""
        name = substr(name, 1, RSTART - 1) inside substr(name, RSTART + RLENGTH)
    }
    gsub(/[;&"]/, "", name)
    gsub(/[<>]/, "", name)
    return name
}

# Steps between tasks and what they do, which say nothing.
function dull(name) {
    return name ~ /^(\[unknown\]|std::sys::|std::panicking|core::ops::function|__libc_start|_start|clone3?$|start_thread$)/ ||
        name ~ /^(tokio::runtime::(task|context|scheduler|blocking)|tokio::task::|std::thread::|__rust_begin|__rust_try)/ ||
        name ~ /^(entry_SYSCALL_64|do_syscall_64|x64_sys_call|__x64_sys_|core::pin|core::future|alloc::boxed)/ ||
        name ~ /(Instrumented|thread_start|TrackedFuture|::poll_inner|call_once)/
}

function finish(    i, line) {
    if (thread == "") return
    line = thread
    for (i = depth; i >= 1; i--) if (!dull(frame[i]) && frame[i] != frame[i + 1]) line = line ";" frame[i]
    seen[line]++
    thread = ""
    depth = 0
}

/^[^ \t]/ { finish(); thread = $1; depth = 0; next }
/^[ \t]*$/ { finish(); next }
{
    if (thread == "") { thread = $1; next }
    $1 = ""
    name = clean(substr($0, 2))
    if (name == "") name = "?"
    frame[++depth] = name
    frame[depth + 1] = ""
}
END {
    finish()
    for (line in seen) print line, seen[line]
}
