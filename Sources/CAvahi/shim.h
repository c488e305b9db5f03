#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/alternative.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <avahi-common/strlst.h>
#include <avahi-common/thread-watch.h>
// What wakes Avahi's poll from outside, by signal and by the monotonic clock; the Swift Glibc module leaves them out.
#include <sys/eventfd.h>
#include <sys/timerfd.h>
