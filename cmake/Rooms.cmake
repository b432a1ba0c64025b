# SPDX-License-Identifier: Apache-2.0
# A room is one static library whose include root shows that room and nothing else, so that an
# include which breaks the layering does not compile.

add_library(gantry_warnings INTERFACE)
target_compile_options(
  gantry_warnings
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wshadow
            -Wconversion
            -Wold-style-cast
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wundef
            -Werror
            $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)

# gantry_room(NAME name PATH folder HEADERS ... SOURCES ... DEPENDS rooms... LINKS libraries...
#             PUBLIC_LINKS libraries that appear in headers...)
function(gantry_room)
  cmake_parse_arguments(R "" "NAME;PATH" "HEADERS;SOURCES;DEPENDS;LINKS;PUBLIC_LINKS" ${ARGN})
  set(root ${CMAKE_BINARY_DIR}/rooms/${R_NAME})
  get_filename_component(parent ${root}/${R_PATH} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${R_PATH} ${root}/${R_PATH} SYMBOLIC)
  add_library(gantry_${R_NAME} STATIC ${R_SOURCES})
  target_include_directories(gantry_${R_NAME} PUBLIC $<BUILD_INTERFACE:${root}>)
  target_compile_options(
    gantry_${R_NAME} PUBLIC -ffile-prefix-map=${root}/=${CMAKE_SOURCE_DIR}/)
  list(TRANSFORM R_DEPENDS PREPEND gantry_)
  target_link_libraries(
    gantry_${R_NAME}
    PUBLIC ${R_DEPENDS} ${R_PUBLIC_LINKS}
    PRIVATE gantry_warnings ${R_LINKS})
  gantry_reuse_precompiled(gantry_${R_NAME} gantry_precompiled)
  gantry_headers_alone(${R_NAME} ${R_PATH} "${R_HEADERS}" "${R_LINKS}")
endfunction()

# Compiles each header of a room as the only include of a source, so that none leans on another.
# Those that a source of the same name includes first are compiled that way already.
function(gantry_headers_alone name path headers links)
  set(sources)
  foreach(header IN LISTS headers)
    string(REPLACE ".h" "" stem ${header})
    set(first)
    if(EXISTS ${CMAKE_SOURCE_DIR}/${path}/${stem}.cc)
      file(STRINGS ${CMAKE_SOURCE_DIR}/${path}/${stem}.cc first REGEX "^#include" LIMIT_COUNT 1)
    endif()
    if(first STREQUAL "#include \"${path}/${header}\"")
      continue()
    endif()
    set(source ${CMAKE_BINARY_DIR}/headers/${path}/${stem}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${path}/${header}\"\n" @ONLY)
    list(APPEND sources ${source})
  endforeach()
  if(sources)
    add_library(gantry_${name}_headers OBJECT EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(gantry_${name}_headers PRIVATE gantry_${name} gantry_warnings ${links})
    set_property(GLOBAL APPEND PROPERTY GANTRY_HEADER_TARGETS gantry_${name}_headers)
  endif()
endfunction()

# gantry_program(NAME executable SOURCES ... LINKS ...): `cmake --install` puts it into bin.
function(gantry_program)
  cmake_parse_arguments(P "" "NAME" "SOURCES;LINKS" ${ARGN})
  add_executable(${P_NAME} ${P_SOURCES})
  target_link_libraries(${P_NAME} PRIVATE gantry_warnings ${P_LINKS})
  install(TARGETS ${P_NAME} RUNTIME DESTINATION bin)
endfunction()
