# The first C++ block after the line <!-- example --> of README.md is a program: it is compiled as it stands there, and
# run.
set(readme ${PROJECT_SOURCE_DIR}/README.md)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${readme})
file(READ ${readme} text)
if(NOT text MATCHES "\n<!-- example -->[^`]*\n```cpp\r?\n([^`]*)```")
  message(FATAL_ERROR "README.md has no line <!-- example --> with a C++ block after it")
endif()
set(source ${CMAKE_CURRENT_BINARY_DIR}/readme_example.cpp)
file(GENERATE OUTPUT ${source} CONTENT "${CMAKE_MATCH_1}")
add_executable(readme_example ${source})
target_link_libraries(readme_example PRIVATE eigenformer_own)
add_dependencies(tests readme_example)
add_test(NAME readme_example COMMAND readme_example)
