# KServe v2 over gRPC, by -DTOKAMAK_GRPC=ON: needs libgrpc++-dev, libprotobuf-dev and
# protobuf-compiler-grpc.
option(TOKAMAK_GRPC "gRPC service of `tokamak serve`" OFF)

function(tokamak_grpc)
  set(target tokamak_grpc)
  if(NOT TOKAMAK_GRPC)
    add_library(${target} STATIC grpc/no_grpc.cc)
    target_link_libraries(${target} PRIVATE tokamak_base)
    return()
  endif()
  find_program(TOKAMAK_PROTOC protoc)
  find_program(TOKAMAK_GRPC_PLUGIN grpc_cpp_plugin)
  find_path(TOKAMAK_GRPC_INCLUDE grpcpp/grpcpp.h)
  foreach(lib grpc++ grpc gpr protobuf absl_synchronization)
    string(MAKE_C_IDENTIFIER "TOKAMAK_LIB_${lib}" name)
    find_library(${name} ${lib})
    list(APPEND libraries ${${name}})
  endforeach()
  set(all ${libraries} ${TOKAMAK_PROTOC} ${TOKAMAK_GRPC_PLUGIN} ${TOKAMAK_GRPC_INCLUDE})
  if(all MATCHES NOTFOUND)
    message(FATAL_ERROR "TOKAMAK_GRPC=ON needs libgrpc++-dev, libprotobuf-dev and protobuf-compiler-grpc")
  endif()
  set(to ${CMAKE_CURRENT_BINARY_DIR}/grpc)
  set(proto ${CMAKE_CURRENT_SOURCE_DIR}/grpc/kserve.proto)
  file(MAKE_DIRECTORY ${to})
  set(made ${to}/kserve.pb.cc ${to}/kserve.grpc.pb.cc)
  add_custom_command(
    OUTPUT ${made} ${to}/kserve.pb.h ${to}/kserve.grpc.pb.h
    COMMAND ${TOKAMAK_PROTOC} --proto_path=${CMAKE_CURRENT_SOURCE_DIR}/grpc --cpp_out=${to}
            --grpc_out=${to} --plugin=protoc-gen-grpc=${TOKAMAK_GRPC_PLUGIN} ${proto}
    DEPENDS ${proto})
  set_source_files_properties(${made} PROPERTIES COMPILE_OPTIONS "-w")
  add_library(${target} STATIC grpc/kserve_service.cc ${made})
  target_include_directories(${target} SYSTEM PUBLIC ${to} ${TOKAMAK_GRPC_INCLUDE})
  target_link_libraries(${target} PUBLIC tokamak_serve ${libraries})
endfunction()
