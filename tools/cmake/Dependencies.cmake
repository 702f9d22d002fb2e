# nearcache_dependencies: what the rooms are compiled and linked with.
#
#   hiredis    >= 1.0, from NEARCACHE_DEPS (tools/setup) or from pkg-config; folded into the library when static
#   jemalloc   a private copy: Debian's position-independent archive with its malloc family renamed, folded in. So the
#              arenas are ours and the host program keeps the malloc it has, whichever that is.
#   xxhash, ck, threads    as the system has them
#
# NEARCACHE_FOLDED        archives that become part of the library
# NEARCACHE_STATIC_LIBS   names of what is left for whoever links the static library
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
add_library(nearcache_dependencies INTERFACE)
set(NEARCACHE_FOLDED)
set(NEARCACHE_STATIC_LIBS xxhash ck m ${CMAKE_DL_LIBS})

# hiredis
add_library(nearcache_hiredis INTERFACE)
if(EXISTS "${NEARCACHE_DEPS}/hiredis/complete")
  target_include_directories(nearcache_hiredis SYSTEM INTERFACE "${NEARCACHE_DEPS}/hiredis/include")
  if(EXISTS "${NEARCACHE_DEPS}/hiredis/lib/libhiredis_ssl.a")
    pkg_check_modules(openssl REQUIRED IMPORTED_TARGET openssl)
    target_link_libraries(nearcache_hiredis INTERFACE
      "${NEARCACHE_DEPS}/hiredis/lib/libhiredis_ssl.a" "${NEARCACHE_DEPS}/hiredis/lib/libhiredis.a"
      PkgConfig::openssl)
    list(APPEND NEARCACHE_FOLDED "${NEARCACHE_DEPS}/hiredis/lib/libhiredis_ssl.a")
    list(PREPEND NEARCACHE_STATIC_LIBS ssl crypto)
    set(NEARCACHE_HAVE_TLS ON)
  else()
    target_link_libraries(nearcache_hiredis INTERFACE "${NEARCACHE_DEPS}/hiredis/lib/libhiredis.a")
  endif()
  list(APPEND NEARCACHE_FOLDED "${NEARCACHE_DEPS}/hiredis/lib/libhiredis.a")
  file(READ "${NEARCACHE_DEPS}/hiredis/complete" hiredis_version)
  string(STRIP "${hiredis_version}" hiredis_version)
  message(STATUS "hiredis ${hiredis_version} of ${NEARCACHE_DEPS}, folded in")
else()
  pkg_check_modules(hiredis IMPORTED_TARGET hiredis>=1.0)
  if(NOT hiredis_FOUND)
    message(FATAL_ERROR "hiredis >= 1.0 is missing. Run tools/setup (it builds one into build/deps), or name the folder "
                        "where that was done: -DNEARCACHE_DEPS=...")
  endif()
  target_link_libraries(nearcache_hiredis INTERFACE PkgConfig::hiredis)
  list(PREPEND NEARCACHE_STATIC_LIBS hiredis)
  pkg_check_modules(hiredis_ssl IMPORTED_TARGET hiredis_ssl>=1.0)
  if(hiredis_ssl_FOUND)
    target_link_libraries(nearcache_hiredis INTERFACE PkgConfig::hiredis_ssl)
    list(PREPEND NEARCACHE_STATIC_LIBS hiredis_ssl)
    set(NEARCACHE_HAVE_TLS ON)
  endif()
endif()
if(NEARCACHE_HAVE_TLS)
  target_compile_definitions(nearcache_hiredis INTERFACE NEARCACHE_HAVE_TLS=1)
endif()

# jemalloc
add_library(nearcache_jemalloc INTERFACE)
find_path(jemalloc_include jemalloc/jemalloc.h REQUIRED)
find_library(jemalloc_pic NAMES libjemalloc_pic.a REQUIRED)
set(jemalloc_private "${CMAKE_BINARY_DIR}/deps/libjemalloc_private.a")
set(jemalloc_renames)
foreach(name malloc calloc realloc free aligned_alloc posix_memalign memalign valloc malloc_usable_size)
  list(APPEND jemalloc_renames --redefine-sym "${name}=near__jemalloc_${name}")
endforeach()
add_custom_command(
  OUTPUT "${jemalloc_private}"
  COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/deps"
  COMMAND ${CMAKE_OBJCOPY} ${jemalloc_renames} "${jemalloc_pic}" "${jemalloc_private}"
  # Its C++ operators new and delete are the host's affair too.
  COMMAND ${CMAKE_AR} d "${jemalloc_private}" jemalloc_cpp.pic.o jemalloc_cpp.o
  DEPENDS "${jemalloc_pic}" COMMENT "Making a private jemalloc" VERBATIM)
add_custom_target(nearcache_jemalloc_made DEPENDS "${jemalloc_private}")
add_dependencies(nearcache_jemalloc nearcache_jemalloc_made)
target_include_directories(nearcache_jemalloc SYSTEM INTERFACE "${jemalloc_include}")
target_link_libraries(nearcache_jemalloc INTERFACE "${jemalloc_private}" ${CMAKE_DL_LIBS} m)
list(APPEND NEARCACHE_FOLDED "${jemalloc_private}")

# the rest
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ck REQUIRED IMPORTED_TARGET ck)
target_link_libraries(nearcache_dependencies INTERFACE
  nearcache_hiredis nearcache_jemalloc PkgConfig::xxhash PkgConfig::ck Threads::Threads)
