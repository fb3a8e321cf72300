//! System calls that no library we use wraps. The only place of the project with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use socket2::Socket;

/// Lets the kernel fragment datagrams larger than the path takes, as it does by default: a relay must not
/// lose what a client sends without DONT-FRAGMENT (RFC 8656 §14). Undoes what `quinn-udp` sets for QUIC.
pub fn allow_fragments(socket: &Socket, ipv4: bool) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let (level, discover) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)?;
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    };
    set_int(fd, level, discover, libc::IP_PMTUDISC_WANT)
}

fn set_int(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Raises this process's limit of open files to the most it may have, and returns it: each allocation needs
/// one.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit that the call only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get_int(fd: RawFd, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let mut value = -1;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: both pointers are to live variables of the sizes that are named.
        let outcome =
            unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &mut len) };
        assert_eq!(outcome, 0);
        value
    }

    // On loopback, whose packets may be 64 KiB, this cannot be seen by sending.
    #[test]
    fn nothing_that_quinn_forbids_stays_forbidden() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = std::net::UdpSocket::bind(address).unwrap();
            quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
            let ipv4 = address.starts_with('1');
            allow_fragments(&socket2::SockRef::from(&socket), ipv4).unwrap();
            let fd = socket.as_raw_fd();
            if ipv4 {
                let discover = get_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
                assert_eq!(discover, libc::IP_PMTUDISC_WANT);
            } else {
                let discover = get_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
                assert_eq!(discover, libc::IP_PMTUDISC_WANT);
                assert_eq!(get_int(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG), 0);
            }
        }
    }
}
